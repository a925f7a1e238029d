// Presigned links of a job's files, renewed before they expire.
import { ask } from "./api.js";

const SPARE_SECONDS = 60;
const kept = new Map();

// URI → URL of the input and of each output.
export async function linksOf(jobID) {
  const before = kept.get(jobID);
  if (before && before.expiresAt - SPARE_SECONDS > Date.now() / 1000) return before.links;
  const { expiresAt, links } = await ask("GET", `/api/v1/jobs/${jobID}/links`);
  const found = new Map(links.map(({ uri, url }) => [uri, url]));
  kept.set(jobID, { expiresAt, links: found });
  return found;
}
