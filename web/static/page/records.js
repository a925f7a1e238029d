// Records of jobs, and what events change in them. Pure.
import { words } from "./words.js";

const t = words({
  accepted: ["accepted", "已接收"],
  queued: ["queued", "排队中"],
  running: ["running", "进行中"],
  finished: ["finished", "已完成"],
  failed: ["failed", "失败"],
  cancelled: ["cancelled", "已取消"],
  expanding: ["expanding", "展开中"],
  ffmpeg: ["transcode", "转码"],
  vmaf: ["score", "评分"],
  plan: ["plan", "预估"],
});

export const STATES = ["accepted", "queued", "running", "finished", "failed", "cancelled"];
export const KINDS = ["ffmpeg", "vmaf"];
export const hasEnded = (state) => ["finished", "failed", "cancelled"].includes(state);
export const canRetry = (state) => state === "failed" || state === "cancelled";
export const stateWord = (state) => t(state);
export const kindWord = (kind) => t(kind);

const MOVES = {
  JobSummit: { state: "queued" },
  JobStart: { state: "running", progress: null, error: null },
  JobProgress: { state: "running" },
  JobFinished: { state: "finished" },
  JobFailed: { state: "failed" },
  JobCancelled: { state: "cancelled" },
  JobReturned: { state: "queued", progress: null },
  JobLost: { state: "queued", progress: null },
  JobRetried: { state: "queued", progress: null, error: null, endedAt: null },
};

// Whether an event moves a job to another state. A Gap stands for events that are lost, so for any move.
export const moves = (event) => event.action === "Gap" || (event.action in MOVES && event.action !== "JobProgress");

// Whether an event may bring a job into a list of one state, or of all. Nothing tells that a job is accepted.
export const enters = (event, state) => moves(event) && (!state || state === "accepted" || event.action === "Gap" || MOVES[event.action].state === state);

// The record behind an event; of the same object where the event changes nothing, and null where a first event does not
// say what the job is.
export function applied(record, event) {
  const move = MOVES[event.action];
  if (!move) return record;
  if (!record) {
    if (!event.job?.input) return null;
    const { input, origin, output, priority, profile } = event.job;
    const kind = profile?.vmaf && !profile.ffmpeg ? "vmaf" : "ffmpeg";
    record = { jobID: event.jobID, userID: event.userID, batchID: event.batchID ?? null, kind, input, origin, output, priority, profile, attempt: 0, createdAt: event.ts };
  }
  if (event.attempt !== undefined && event.attempt < record.attempt) return record;
  if (event.action === "JobProgress" && hasEnded(record.state)) return record;
  if (event.action === "JobSummit" && record.state && record.state !== "accepted") return record; // it comes late where a job moves at once
  const changed = { ...record, ...move };
  if (event.attempt !== undefined) changed.attempt = event.attempt;
  if (event.progress) changed.progress = event.progress;
  if (event.error) changed.error = event.error;
  if (event.action === "JobStart") changed.startedAt = event.ts;
  if (event.podName) changed.worker = event.podName;
  if (event.result) Object.assign(changed, event.result);
  if (hasEnded(changed.state)) Object.assign(changed, { endedAt: event.ts, progress: null });
  return changed;
}

// Whether a list with these filters of the API has a record of its user.
export function matches(record, { state, kind, batchID, since, until, text, code }) {
  const sought = (text ?? "").toLowerCase();
  const isIn = (uri) => (uri ?? "").toLowerCase().includes(sought);
  return (!state || record.state === state) && (!kind || record.kind === kind) && (!batchID || record.batchID === batchID) && (!since || record.createdAt >= since)
    && (!until || record.createdAt < until) && (!code || record.error?.code === code) && (record.jobID.startsWith(sought) || [record.input, record.origin, record.output].some(isIn));
}

// Seconds that a job has run, or took.
export function runSeconds(record, now = Date.now() / 1000) {
  return record.startedAt ? Math.max(0, (record.endedAt ?? now) - record.startedAt) : null;
}

// The output that a film has as a file, else the first one.
export const mainOutput = (record) => record.outputs?.find((each) => each.role === "file") ?? record.outputs?.find((each) => each.uri.endsWith(".m3u8")) ?? record.outputs?.[0];
