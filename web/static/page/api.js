// Requests to the API. An error of the API is a Problem, as RFC 9457 describes it.
import { authorization, signIn } from "./sign-in.js";
import { words } from "./words.js";

const t = words({ unanswered: ["The server does not answer.", "服务器没有应答。"] });

// `faults` are [{ pointer, detail }] of a body; `retryAfter` is in seconds, null where the API names none.
export class Problem extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    Object.assign(this, { status, faults: problem.errors ?? [], instance: problem.instance, retryAfter });
  }
}

// The answer's JSON. Signs in and sends the request again on a 401. Throws a Problem on any other error, and TypeError
// where no server answers. `body` is sent as JSON, a string as it is.
export const ask = async (method, path, body, options) => (await send(method, path, body, options)).data;

// A page of a list: { items, next }, `next` being the path of the next page, or null.
export async function page(path) {
  const { data, link } = await send("GET", path);
  const next = /<[^>?]*(\?[^>]+)>;\s*rel="next"/.exec(link ?? "")?.[1];
  return { items: data, next: next ? path.split("?")[0] + next : null };
}

// A path with the parameters that have a value.
export function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// Retries the failed jobs of a user, or of one of their batches; how many run again. A call takes some of many, so it is repeated
// while that moves any: jobs that no queue takes stay failed.
export async function retryFailed(userID, batchID) {
  for (let total = 0; ;) {
    const { retried, more } = await ask("POST", "/api/v1/jobs/retry", batchID ? { userID, batchID } : { userID });
    total += retried;
    if (!more || !retried) return total;
  }
}

async function send(method, path, body, { signal, key } = {}) {
  const headers = { ...authorization() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const content = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(path, { method, headers, body: content, signal }).catch((error) => {
    throw signal?.aborted ? error : new TypeError(t("unanswered"), { cause: error });
  });
  if (answer.status === 401) {
    await signIn();
    return send(method, path, body, { signal, key });
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, problem, Number(answer.headers.get("Retry-After")) || null);
  }
  return { data: answer.status === 204 ? null : await answer.json(), link: answer.headers.get("Link") };
}
