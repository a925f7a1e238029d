// Presigned links of a job's files, renewed before they expire.
import { ask } from "./api.js";

const SPARE_SECONDS = 60;
const MOST = 200;
const GATHER_MS = 5;
const JOBS = 50;
const kept = new Map();

const pathOf = (jobID) => `/api/v1/jobs/${jobID}/links`;
const isFresh = (expiresAt) => expiresAt - SPARE_SECONDS > Date.now() / 1000;

// URI → URL of the input and of each output; the same Map while the links are fresh, and the job is in the same state.
export const linksOf = async (jobID, state) => (await listed(jobID, state)).links;

async function listed(jobID, state) {
  const before = kept.get(jobID);
  const suits = before && (!state || before.state === state);
  if (suits && isFresh((await before.answer.catch(() => null))?.expiresAt ?? 0)) return before.answer;
  if (kept.get(jobID) !== before) return listed(jobID, state);
  const answer = ask("GET", pathOf(jobID)).then(({ expiresAt, links }) => ({ expiresAt, links: new Map(links.map(({ uri, url }) => [uri, url])) }));
  kept.set(jobID, { state, answer });
  if (kept.size > JOBS) kept.delete(kept.keys().next().value);
  return answer;
}

// A function of a URI that returns { url, expiresAt } of a file of the job, with a minute left at least. Files of packages that
// are wanted within a moment are asked for together. It throws a Problem where the job has no such file.
export function opener(jobID) {
  const known = new Map();
  let waiting = null;
  const gather = (uri) => {
    if (!waiting) {
      const uris = new Set();
      waiting = { uris, answer: new Promise((resolve) => setTimeout(resolve, GATHER_MS)).then(() => { waiting = null; return load([...uris]); }) };
    }
    waiting.uris.add(uri);
    return waiting.answer;
  };
  const load = async (uris) => {
    for (let at = 0; at < uris.length; at += MOST) {
      const { expiresAt, links } = await ask("POST", pathOf(jobID), { uris: uris.slice(at, at + MOST) });
      for (const { uri, url } of links) known.set(uri, { url, expiresAt });
    }
  };
  return async (uri) => {
    const { links, expiresAt } = await listed(jobID);
    if (links.has(uri)) return { url: links.get(uri), expiresAt };
    if (!isFresh(known.get(uri)?.expiresAt ?? 0)) await gather(uri);
    return known.get(uri);
  };
}

// When a link is to be renewed, in milliseconds from now.
export const renewal = (expiresAt) => Math.max(1000, (expiresAt - SPARE_SECONDS) * 1000 + 500 - Date.now());
