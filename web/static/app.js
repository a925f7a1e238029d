"use strict";

// Shows version and build, and every event as it arrives. Progress of a job replaces its last line of progress.
const SHOWN = 200;
let pause = 500;
let cursor = null;

const element = (id) => document.getElementById(id);

function setConnection(text, open) {
  element("connection").textContent = text;
  element("connection").classList.toggle("open", open);
}

function detail(event) {
  if (event.error) return `${event.error.code}: ${event.error.message}`;
  if (event.progress) {
    const eta = event.progress.etaSeconds;
    const percent = event.progress.percent ?? 0;
    return `${percent.toFixed(1)} %${eta === undefined ? "" : `, ${Math.round(eta)} s to go`}`;
  }
  if (event.result?.outputs?.length) return event.result.outputs.map((output) => output.uri).join(" ");
  return event.podName ?? "";
}

function cell(text, span = 1) {
  const td = document.createElement("td");
  td.textContent = text;
  td.colSpan = span;
  return td;
}

function show(event) {
  cursor = event.cursor ?? cursor;
  const events = element("events");
  const row = document.createElement("tr");
  if (event.action === "Gap") {
    row.append(cell(event.msg, 5));
    events.prepend(row);
    return;
  }
  row.className = event.action;
  row.append(
    cell(new Date(event.ts * 1000).toLocaleTimeString()), cell(event.action), cell(event.jobID.slice(0, 8)),
    cell(event.job?.input ?? ""), cell(detail(event)),
  );
  const before = [...events.rows].find((shown) => shown.dataset.progress === event.jobID);
  if (event.action === "JobProgress") row.dataset.progress = event.jobID;
  if (before) before.replaceWith(row); else events.prepend(row);
  while (events.rows.length > SHOWN) events.lastElementChild.remove();
  element("empty").hidden = true;
}

function reconnect() {
  setConnection("reconnecting", false);
  setTimeout(follow, pause);
  pause = Math.min(pause * 2, 30000);
}

async function follow() {
  let ticket;
  try {
    const server = await ask("GET", "/api/v1");
    element("version").textContent = server.version;
    element("build").textContent = `build ${server.build}, commit ${server.commit.slice(0, 12)}`;
    // Browsers send no headers of ours with a WebSocket, so a ticket stands in for the token.
    ticket = token && (await ask("POST", "/api/v1/socket-tickets")).ticket;
  } catch (error) {
    console.warn(error);
    reconnect();
    return;
  }
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  // A new connection continues after the last event shown, so none is missed.
  const start = cursor === null ? "lastMod=0" : `after=${encodeURIComponent(cursor)}`;
  const proof = ticket ? `&ticket=${encodeURIComponent(ticket)}` : "";
  const socket = new WebSocket(`${scheme}://${location.host}/ws?${start}${proof}`);
  socket.onopen = () => { pause = 500; setConnection("live", true); };
  socket.onmessage = (message) => show(JSON.parse(message.data));
  socket.onclose = reconnect;
}

follow();
