// Files sent from the browser straight to S3, in parts. A lost connection makes a part wait and go again; after a reload of the
// page the same file, chosen again, goes on with the parts that are missing.
import { Problem, ask } from "../api.js";
import { words } from "../words.js";
import { signal } from "../../vendor/libraries.js";

const t = words({
  refused: ["S3 refuses a part: HTTP {status}.", "S3 拒绝了一个分片：HTTP {status}。"],
  unanswered: ["S3 does not answer.", "S3 没有应答。"],
});
const AT_ONCE = 4;
const LINKS_AT_ONCE = 16;
const TRIES = 8;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
const STORE = "uploads";

// Uploads of this tab: { id, file, userID, sent, state, error, uri }; `state` is "running", "waiting" (for a connection), "failed" or
// "finished".
export const uploads = signal([]);

const running = new Map();
let last = 0;

// The URI of the object that the file becomes. Rejects with what the API answers, or with an AbortError.
export async function upload(file, userID) {
  const id = ++last;
  const stop = new AbortController();
  running.set(id, stop);
  uploads.value = [...uploads.value.filter((each) => each.file !== file), { id, file, userID, sent: 0, state: "running" }];
  try {
    const uri = await send(id, file, userID, stop.signal);
    show(id, { state: "finished", sent: file.size, uri });
    return uri;
  } catch (error) {
    if (stop.signal.aborted) remove(id); else show(id, { state: "failed", error });
    throw error;
  } finally {
    running.delete(id);
    stop.abort(); // parts still under way, where one has failed for good
  }
}

// Ends an upload and removes what S3 has of it.
export async function abandon({ id, file, userID, uri }) {
  running.get(id)?.abort(new DOMException("abandoned", "AbortError"));
  remove(id);
  const uploadID = remembered(file, userID);
  if (!uploadID || uri) return;
  forget(file, userID);
  await ask("DELETE", `/api/v1/uploads/${uploadID}`);
}

// Names of a user's files that were not sent whole when the page was left or loaded again.
export const interrupted = (owner) => Object.keys(stored())
  .filter((key) => JSON.parse(key)[3] === owner)
  .filter((key) => !uploads.value.some(({ file, userID }) => fingerprint(file, userID) === key))
  .map((key) => JSON.parse(key)[0]);

const show = (id, changes) => { uploads.value = uploads.value.map((each) => (each.id === id ? { ...each, ...changes } : each)); };
const remove = (id) => { uploads.value = uploads.value.filter((each) => each.id !== id); };

// What a user's file is known by, as the browser does not say where it lies.
const fingerprint = (file, userID) => JSON.stringify([file.name, file.size, file.lastModified, userID]);
const stored = () => JSON.parse(sessionStorage.getItem(STORE) ?? "{}");
const store = (changes) => sessionStorage.setItem(STORE, JSON.stringify(changes));
const remembered = (file, userID) => stored()[fingerprint(file, userID)];
const remember = (file, userID, uploadID) => store({ ...stored(), [fingerprint(file, userID)]: uploadID });
const forget = (file, userID) => store(Object.fromEntries(Object.entries(stored()).filter(([key]) => key !== fingerprint(file, userID))));

async function send(id, file, userID, stop) {
  const upload = await begun(id, file, userID, stop);
  await sendMissing(id, file, upload, stop);
  try {
    await complete(id, upload, stop);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 409) throw error;
    // S3 lacks a part, or another tab has sent one anew.
    await sendMissing(id, file, await known(id, upload.uploadID, stop), stop);
    await complete(id, upload, stop);
  }
  forget(file, userID);
  return upload.uri;
}

const known = (id, uploadID, stop) => again(id, stop, () => ask("GET", `/api/v1/uploads/${uploadID}`, undefined, { signal: stop }));
const complete = (id, { uploadID }, stop) => again(id, stop, () => ask("POST", `/api/v1/uploads/${uploadID}/complete`, undefined, { signal: stop }));

async function sendMissing(id, file, { uploadID, partBytes, parts, uploaded = [] }, stop) {
  const present = new Set(uploaded);
  const missing = Array.from({ length: parts }, (_, n) => n + 1).filter((n) => !present.has(n));
  const sent = new Map([...present].map((n) => [n, sizeOf(n, file, partBytes)]));
  const count = () => show(id, { sent: [...sent.values()].reduce((sum, each) => sum + each, 0) });
  count();
  const links = linksOf(id, uploadID, missing, stop);
  const queue = [...missing];
  const worker = async () => {
    for (let n = queue.shift(); n; n = queue.shift()) {
      const part = file.slice((n - 1) * partBytes, n * partBytes);
      await again(id, stop, async () => put(await links.of(n), part, stop, (bytes) => { sent.set(n, bytes); count(); }), () => links.drop(n));
      sent.set(n, part.size);
      count();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const sizeOf = (n, file, partBytes) => Math.min(partBytes, file.size - (n - 1) * partBytes);

// The upload that the tab remembers, with the parts that S3 has; a new one where it knows none.
async function begun(id, file, userID, stop) {
  const before = remembered(file, userID);
  if (before) {
    try {
      return await known(id, before, stop);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      forget(file, userID);
    }
  }
  const upload = await again(id, stop, () => ask("POST", "/api/v1/uploads", { userID, name: file.name, bytes: file.size }, { signal: stop }));
  remember(file, userID, upload.uploadID);
  return upload;
}

// Presigned URLs of parts, some at a time. A dropped one, perhaps expired, is signed again.
function linksOf(id, uploadID, missing, stop) {
  const urls = new Map();
  return {
    async of(n) {
      if (!urls.has(n)) {
        const from = missing.indexOf(n);
        const parts = missing.slice(from, from + LINKS_AT_ONCE).filter((each) => !urls.has(each));
        const asking = ask("POST", `/api/v1/uploads/${uploadID}/links`, { parts }, { signal: stop }).then((answer) => answer.urls);
        for (const each of parts) {
          const url = asking.then((given) => given[each]);
          url.catch(() => urls.delete(each));
          urls.set(each, url);
        }
      }
      return urls.get(n);
    },
    drop: (n) => urls.delete(n),
  };
}

// Runs an action until it succeeds. One that no server answered waits for a connection, as long as that takes; other
// failures go again a few times. The API's refusals are final.
async function again(id, stop, action, failed = () => {}) {
  for (let tries = 1, pause = FIRST_PAUSE_MS; ; tries++, pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      const result = await action();
      show(id, { state: "running" });
      return result;
    } catch (error) {
      failed();
      const isFinal = error instanceof Problem && error.status < 500 && error.status !== 429;
      if (stop.aborted || isFinal) throw error;
      if (navigator.onLine && tries >= TRIES) throw error;
      show(id, { state: "waiting" });
      await rest((error.retryAfter ?? 0) * 1000 || pause * (0.5 + Math.random()), stop);
    }
  }
}

// A pause, cut short where the connection comes back.
const rest = (milliseconds, stop) => new Promise((resolve, reject) => {
  const end = () => { clearTimeout(timer); removeEventListener("online", end); stop.removeEventListener("abort", end); if (stop.aborted) reject(stop.reason); else resolve(); };
  const timer = setTimeout(end, milliseconds);
  addEventListener("online", end);
  stop.addEventListener("abort", end);
});

// `fetch` does not say how much it has sent, so this is an XMLHttpRequest.
const put = (url, part, stop, sent) => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  const abort = () => request.abort();
  request.open("PUT", url);
  request.upload.onprogress = ({ loaded }) => sent(loaded);
  request.onload = () => (request.status === 200 ? resolve() : reject(new Error(t("refused", { status: request.status }))));
  request.onerror = () => { sent(0); reject(new TypeError(t("unanswered"))); };
  request.onabort = () => reject(stop.reason);
  request.onloadend = () => stop.removeEventListener("abort", abort);
  stop.addEventListener("abort", abort);
  request.send(part);
});

addEventListener("beforeunload", (event) => { if (running.size) event.preventDefault(); });
