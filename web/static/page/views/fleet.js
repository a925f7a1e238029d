// The fleet: queues with their load and waits, which operators pause and resume, and the Deployments of each cluster.
import { ask, page } from "../api.js";
import { Chart, Fault, Loading, useEvery, useLoaded } from "../parts.js";
import { NONE, count, decimal, moment, seconds } from "../format.js";
import { attempt, say } from "../notices.js";
import { words } from "../words.js";
import { html, useMemo, useState } from "../../vendor/libraries.js";

const t = words({
  fleet: ["Fleet", "集群"], hour: ["The last hour", "最近一小时"], shows: ["Show", "显示"],
  expectedSeconds: ["expected wait", "预计等待"], visible: ["waiting jobs", "等待的任务"], inFlight: ["jobs in flight", "处理中的任务"], readyReplicas: ["workers", "工作节点"],
  noHistory: ["There is no sample yet: one comes each minute.", "尚无采样，每分钟一次。"], first: ["The {n} busiest queues.", "最忙的 {n} 个队列。"],
  queues: ["Queues", "队列"], queue: ["Queue", "队列"], takes: ["Takes", "处理"], waiting: ["Waiting", "等待"], oldest: ["Oldest", "最长等待"], flight: ["In flight", "处理中"], workers: ["Workers", "工作节点"],
  weight: ["Weight", "权重"], priority: ["Priority", "优先级"], wait: ["Expected wait", "预计等待"], perJob: ["Per job", "每任务"], state: ["State", "状态"], action: ["Action", "操作"],
  paused: ["paused", "已暂停"], open: ["open", "开放"], unusable: ["not usable", "不可用"], drained: ["drained", "已排空"], draining: ["draining", "排空中"],
  pause: ["Pause", "暂停"], pauseIt: ["Pause {queue}", "暂停 {queue}"], resume: ["Resume", "恢复"], resumeIt: ["Resume {queue}", "恢复 {queue}"],
  sure: ["Pause {queue}? It gets no new jobs. Its workers go on with the jobs that it holds, and waiting jobs move to other queues where they end sooner. Jobs that only paused queues may take wait until one resumes.",
    "确定暂停 {queue}？它将不再接收新任务；节点会继续处理其现有任务，等待中的任务会移至更快完成的队列。只能由已暂停队列处理的任务会一直等待。"],
  isPaused: ["{queue} is paused: it drains.", "{queue} 已暂停，正在排空。"], isResumed: ["{queue} takes jobs again.", "{queue} 已恢复接收任务。"],
  cluster: ["Cluster {name}", "集群 {name}"], deployment: ["Deployment", "部署"], replicas: ["Ready", "就绪"], desired: ["Wanted", "期望"], price: ["Price", "计价"], platform: ["Platform", "平台"], seen: ["Seen", "最近发现"],
  stale: ["out of reach", "无法访问"], none: ["No Deployment has been discovered.", "未发现任何部署。"], time: ["Time", "时间"],
});
const EVERY_SECONDS = 10;
const HISTORY_SECONDS = 60;
const FIGURES = ["expectedSeconds", "visible", "inFlight", "readyReplicas"];
const COLOURS = ["accent", "good", "bad", "warn", "quiet"];
const DASHES = [[], [8, 4], [2, 3]];
const MOST = COLOURS.length * 2;

export function View() {
  return html`<h1>${t("fleet")}</h1><${History} /><${Queues} /><${Deployments} />`;
}

function History() {
  const { data, error, again } = useLoaded(() => ask("GET", "/api/v1/worker/history"), []);
  useEvery(HISTORY_SECONDS, again);
  const [figure, setFigure] = useState(FIGURES[0]);
  const { queues, all, series } = useMemo(() => plotted(data ?? [], figure), [data, figure]);
  const options = useMemo(() => (colour) => optionsOf(queues, figure, colour), [queues.join("\n"), figure]);
  const latest = queues.map((queue, n) => `${queue}: ${shown(figure, series[n + 1].at(-1))}`).join(", ");
  return html`
    <section><div class="heading"><h2>${t("hour")}</h2><label for="figure" class="quiet">${t("shows")}</label>
        <select id="figure" value=${figure} onChange=${({ target }) => setFigure(target.value)}>${FIGURES.map((each) => html`<option value=${each}>${t(each)}</option>`)}</select></div>
      <${Fault} error=${error} />
      ${data && (data.length ? html`<${Chart} label=${`${t("hour")}, ${t(figure)}: ${latest}`} data=${series} options=${options} height=${220} />` : html`<p class="quiet">${t("noHistory")}</p>`)}
      ${all > queues.length && html`<p class="quiet">${t("first", { n: queues.length })}</p>`}</section>`;
}

const shown = (figure, value) => (figure === "expectedSeconds" ? seconds(value) : count(value));

// { queues, all, series }: those with the most of a figure, by name, how many there are, and uPlot's data.
function plotted(samples, figure) {
  const most = new Map();
  for (const { queues } of samples) for (const each of queues) most.set(each.queue, Math.max(most.get(each.queue) ?? -1, each[figure] ?? -1));
  const queues = [...most.keys()].sort((a, b) => most.get(b) - most.get(a)).slice(0, MOST).sort();
  const byName = samples.map((sample) => new Map(sample.queues.map((each) => [each.queue, each[figure]])));
  return { queues, all: most.size, series: [samples.map(({ at }) => at), ...queues.map((queue) => byName.map((sample) => sample.get(queue) ?? null))] };
}

const optionsOf = (queues, figure, colour) => ({
  legend: { live: false },
  cursor: { show: false },
  scales: { y: { range: (_, least, most) => [0, Math.max(figure === "expectedSeconds" ? 10 : 4, most)] } },
  axes: [{}, { size: 100, values: (_, ticks) => ticks.map((each) => shown(figure, each)) }],
  series: [{ label: t("time") }, ...queues.map((label, n) => ({ label, stroke: colour(COLOURS[n % COLOURS.length]), width: 2, dash: DASHES[Math.floor(n / COLOURS.length)], points: { show: false } }))],
});

// A table that scrolls sideways where it is too wide, by keys, too.
const Wide = ({ label, children }) => html`<div class="scrolled" role="region" aria-label=${label} tabindex="0"><table class="fleet">${children}</table></div>`;

function Queues() {
  const { data, error, again } = useLoaded(() => page("/api/v1/worker/backlog?limit=1000"), []);
  useEvery(EVERY_SECONDS, again);
  const turn = (queue, action) => attempt(async () => {
    await ask("POST", `/api/v1/worker/queues/${encodeURIComponent(queue)}/${action}`);
    say(t(action === "pause" ? "isPaused" : "isResumed", { queue }));
    again();
  });
  const head = ["queue", "state", "action", "waiting", "flight", "workers", "wait", "oldest", "perJob", "weight", "priority", "takes"];
  return html`
    <section><h2>${t("queues")}</h2><${Fault} error=${error} />
      ${!data ? !error && html`<${Loading} />` : html`<${Wide} label=${t("queues")}><thead><tr>${head.map((each) => html`<th scope="col" class=${NUMBERS.includes(each) ? "number" : ""}>${t(each)}</th>`)}</tr></thead>
        <tbody>${data.items.map((each) => html`<${Queue} key=${each.queue} queue=${each} turn=${turn} />`)}</tbody></${Wide}>`}
    </section>`;
}

const NUMBERS = ["waiting", "oldest", "flight", "workers", "perJob", "wait", "weight", "priority", "replicas", "desired"];

function Queue({ queue: each, turn }) {
  const { queue, paused } = each;
  const isEmpty = !each.visible && !each.inFlight;
  const fault = each.fault ?? each.outage;
  const state = paused ? `${t("paused")} · ${t(isEmpty ? "drained" : "draining")}` : t(fault ? "unusable" : "open");
  const figures = [count(each.visible), count(each.inFlight), count(each.readyReplicas), seconds(each.expectedSeconds), each.oldestSeconds ? seconds(each.oldestSeconds) : NONE, seconds(each.secondsPerJob),
    decimal(each.weight), each.priority.join("–")];
  return html`
    <tr><th scope="row">${queue}</th>
      <td><span class=${`state ${paused ? "cancelled" : fault ? "failed" : "finished"}`}>${state}</span>${fault && html`<span class="quiet note">${fault}</span>`}</td>
      <td>${paused ? html`<button type="button" aria-label=${t("resumeIt", { queue })} onClick=${() => turn(queue, "resume")}>${t("resume")}</button>`
        : html`<button type="button" aria-label=${t("pauseIt", { queue })} onClick=${() => confirm(t("sure", { queue })) && turn(queue, "pause")}>${t("pause")}</button>`}</td>
      ${figures.map((figure) => html`<td class="number">${figure}</td>`)}<td>${each.kind} · ${each.platform} · ${each.priceModel}</td></tr>`;
}

function Deployments() {
  const { data, error, again } = useLoaded(() => ask("GET", "/api/v1/worker/deployments?limit=1000"), []);
  useEvery(EVERY_SECONDS, again);
  const all = Object.values(data ?? {});
  const clusters = [...new Set(all.map(({ cluster }) => cluster))].sort();
  return html`<${Fault} error=${error} />
    ${data && !all.length && html`<p class="quiet">${t("none")}</p>`}
    ${clusters.map((cluster) => html`<${Cluster} key=${cluster} cluster=${cluster} deployments=${all.filter((each) => each.cluster === cluster)} />`)}`;
}

function Cluster({ cluster, deployments }) {
  const isStale = deployments.every(({ stale }) => stale);
  const head = ["deployment", "queue", "platform", "replicas", "desired", "weight", "priority", "price", "seen"];
  return html`
    <section><h2>${t("cluster", { name: cluster })} ${isStale && html`<span class="state failed">${t("stale")}</span>`}</h2>
      <${Wide} label=${t("cluster", { name: cluster })}><thead><tr>${head.map((each) => html`<th scope="col" class=${NUMBERS.includes(each) ? "number" : ""}>${t(each)}</th>`)}</tr></thead>
        <tbody>${deployments.map((each) => html`
          <tr key=${`${each.namespace}/${each.name}`}><th scope="row">${each.namespace}/${each.name}${each.draining && html` <span class="quiet">${t("draining")}</span>`}</th><td>${each.Queue}</td><td>${each.workerType} · ${each.Platform}</td>
            <td class="number">${count(each.Replicas)}</td><td class="number">${count(each.desiredReplicas)}</td><td class="number">${decimal(each.weight)}</td><td class="number">${each.priority.join("–")}</td>
            <td>${each.priceModel}</td><td>${moment(each.seenAt)}${each.stale && !isStale && html` <span class="fault">${t("stale")}</span>`}</td></tr>`)}</tbody></${Wide}></section>`;
}
