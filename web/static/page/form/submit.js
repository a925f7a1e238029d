// Sends a request once, however often it is repeated: the same body goes with the same Idempotency-Key until it is accepted.
import { Problem, ask } from "../api.js";

const TRIES = 4;

let latest = null;

// The API's answer. A lost or late answer makes the request go again; throws what is left after some tries.
export async function submit(path, body) {
  const content = path + JSON.stringify(body);
  if (latest?.content !== content) latest = { content, key: newKey() };
  for (let tries = 1; ; tries++) {
    try {
      const answer = await ask("POST", `/api${path}`, body, { key: latest.key });
      latest = null;
      return answer;
    } catch (error) {
      const mayGoAgain = !(error instanceof Problem) || [502, 503, 504].includes(error.status) || (error.status === 409 && error.retryAfter);
      if (!mayGoAgain || tries >= TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, (error.retryAfter ?? tries) * 1000));
    }
  }
}

// crypto.randomUUID is missing where a page comes over http from another machine.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// The page of what the API has accepted.
export function pageOf(answer) {
  if (answer.batchID) return `/batch/${answer.batchID}`;
  const [job] = [answer].flat();
  if (job.status.status !== "success") throw new Error(`${job.status.event}: ${job.status.status}`);
  return `/job/${job.jobid}`;
}
