// The events of /ws, in their order, from the latest 100 on. A lost connection goes on after the last event that came.
import { ask } from "./api.js";
import { hasToken } from "./sign-in.js";
import { signal } from "../vendor/libraries.js";

const FLUSH_MS = 100;
const SILENCE_MS = 300_000; // API Gateway ends a connection that is silent for ten minutes
const ANSWER_MS = 15_000;

// "connecting", "live" or "lost"
export const connection = signal("connecting");
// How often events have been lost, as the connection was away for longer than they are kept: lists are read anew then.
export const gaps = signal(0);

const listeners = new Set();
let socket = null;
let cursor = null;
let user = null;
let latest = 0; // counts attempts to connect: an earlier one has no say
let heardAt = 0;
let pause = 500;
let waiting = null;
let gathered = [];

// Calls `listener` with arrays of events, as many as came within a tenth of a second. Returns what ends that.
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Follow the events of a user, or of all users where the id is empty.
export function follow(userID) {
  if (user === userID) return;
  user = userID;
  cursor = null;
  gathered = [];
  connect();
}

async function connect() {
  const mine = ++latest;
  clearTimeout(waiting);
  if (socket) socket.onmessage = socket.onclose = null;
  socket?.close();
  socket = null;
  let ticket;
  try {
    // Browsers send no headers of ours with a WebSocket, so a ticket stands in for the token.
    ticket = hasToken() ? (await ask("POST", "/api/v1/socket-tickets")).ticket : null;
  } catch (error) {
    console.warn(error);
    if (mine === latest) again();
    return;
  }
  if (mine !== latest) return;
  const parameters = new URLSearchParams(cursor === null ? { lastMod: 0 } : { after: cursor });
  if (user) parameters.set("userID", user);
  if (ticket) parameters.set("ticket", ticket);
  parameters.set("pack", "1");
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws?${parameters}`);
  socket = opened;
  opened.onopen = () => { pause = 500; connection.value = "live"; };
  opened.onmessage = ({ data }) => { heardAt = Date.now(); gather(data); };
  opened.onclose = again;
}

function again() {
  connection.value = "lost";
  waiting = setTimeout(connect, pause);
  pause = Math.min(pause * 2, 30_000);
}

function gather(data) {
  if (data === "pong" || !/^[[{]/.test(data)) return;
  const given = JSON.parse(data);
  const events = Array.isArray(given) ? given : [given];
  cursor = events.findLast((event) => event.cursor)?.cursor ?? cursor;
  if (events.some((event) => event.action === "Gap")) gaps.value++;
  if (!gathered.length) setTimeout(hand, FLUSH_MS);
  gathered.push(...events);
}

function hand() {
  const events = gathered;
  gathered = [];
  for (const listener of [...listeners]) listener(events);
}

addEventListener("online", () => {
  if (connection.value !== "lost") return;
  pause = 500;
  connect();
});

// A connection that a sleep or another network has cut off stays open for the browser, so it is asked.
setInterval(() => {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const asked = socket;
  const askedAt = Date.now();
  asked.send("ping");
  setTimeout(() => { if (socket === asked && heardAt < askedAt) { again(); connect(); } }, ANSWER_MS);
}, SILENCE_MS);
