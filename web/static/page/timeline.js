// The attempts of a job, and its parts, as bars over time.
import { moment, percent, seconds } from "./format.js";
import { stateWord } from "./records.js";
import { words } from "./words.js";
import { html } from "../vendor/libraries.js";

const t = words({
  waiting: ["waiting", "等待"],
  attempt: ["attempt {n}", "第 {n} 次尝试"],
  begun: ["began {time}", "开始于 {time}"],
  lost: ["lost", "丢失"],
  returned: ["returned", "退回"],
  none: ["Nothing has happened yet.", "尚无记录。"],
  part: ["Part", "分片"], state: ["State", "状态"], worker: ["Worker", "工作节点"], took: ["Took", "用时"],
  why: ["How it was divided: {reason}", "划分依据：{reason}"],
});
const ENDS = { JobFinished: "finished", JobFailed: "failed", JobCancelled: "cancelled", JobLost: "lost", JobReturned: "returned" };

export function Timeline({ record, events, parts }) {
  const spans = spansOf(events, record.createdAt, record.endedAt ?? Date.now() / 1000);
  if (!spans.length) return html`<p class="quiet">${t("none")}</p>`;
  const first = spans[0].from;
  const whole = Math.max(0.001, spans.at(-1).to - first);
  return html`
    <div class="timeline">${spans.map(({ name, kind, from, to, note }) => html`
      <span>${name}</span>
      <span class="track"><span class=${`span ${kind}`} style=${{ left: `${(100 * (from - first)) / whole}%`, width: `${(100 * (to - from)) / whole}%` }}></span></span>
      <span class="quiet">${seconds(to - from)} ${note}</span>`)}</div>
    ${record.division?.reason && html`<p class="quiet">${t("why", { reason: record.division.reason })}</p>`}
    ${parts.length > 0 && html`
      <table><thead><tr><th scope="col">${t("part")}</th><th scope="col">${t("state")}</th><th scope="col">${t("worker")}</th><th scope="col" class="number">${t("took")}</th></tr></thead>
        <tbody>${parts.map((part) => html`<tr key=${part.part}><td>${part.name}</td>
          <td><span class=${`state ${part.state}`}>${stateWord(part.state)}</span> ${part.state === "running" && part.progress?.percent != null ? percent(part.progress.percent) : ""} ${part.attempt > 1 ? t("attempt", { n: part.attempt }) : ""}</td>
          <td>${part.worker ?? ""}</td><td class="number">${seconds(part.seconds)}</td></tr>`)}</tbody></table>`}`;
}

// Waits and attempts in their order, each from one event to the next: [{ name, kind, from, to, note }].
function spansOf(events, created, end) {
  const spans = [];
  let waits = created;
  let open = null;
  for (const event of events) {
    const at = event.tsMs / 1000;
    if (event.action === "JobStart") {
      if (waits !== null && at > waits) spans.push({ name: t("waiting"), kind: "waiting", from: waits, to: at, note: "" });
      waits = null;
      open = { name: t("attempt", { n: event.attempt ?? 1 }), kind: "running", from: at, to: end, note: [event.podName, event.nodeName].filter(Boolean).join(" · ") };
      spans.push(open);
    } else if (event.action in ENDS) {
      const kind = ENDS[event.action];
      if (open) Object.assign(open, { kind, to: at, note: `${open.note} ${kind === "lost" || kind === "returned" ? t(kind) : ""}${event.error ? ` ${event.error.code}` : ""}` });
      else if (waits !== null) spans.push({ name: t("waiting"), kind: "waiting", from: waits, to: at, note: "" });
      open = null;
      waits = kind === "lost" || kind === "returned" ? at : null;
    } else if (event.action === "JobRetried") {
      waits = at;
    }
  }
  if (waits !== null && !open && end > waits) spans.push({ name: t("waiting"), kind: "waiting", from: waits, to: end, note: t("begun", { time: moment(waits) }) });
  return spans;
}
