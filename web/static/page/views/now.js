// What happens now: counts, jobs per minute, queues with their expected waits, running jobs.
import { ask, page, query } from "../api.js";
import { Chart, Fault, Loading, Progress, useEvery, useLoaded } from "../parts.js";
import { count, moment, nameOf, seconds, shortId } from "../format.js";
import { gaps, listen } from "../live.js";
import { STATES, applied, hasEnded, moves, stateWord } from "../records.js";
import { isOperator, user } from "../session.js";
import { words } from "../words.js";
import { html, useEffect, useMemo, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  now: ["Now", "当前"],
  counts: ["Jobs by state", "各状态的任务数"],
  minutes: ["Jobs per minute, the last hour", "每分钟任务数（最近一小时）"],
  none: ["No job has moved in the last hour.", "最近一小时没有任务变化。"],
  running: ["Running jobs", "进行中的任务"],
  noneRunning: ["No job is running. ", "没有正在进行的任务。"],
  send: ["Send one.", "提交一个。"],
  failures: ["Failures by code", "按错误代码分组的失败"],
  code: ["Code", "代码"],
  jobs: ["Jobs", "任务数"],
  advice: ["What to do", "处理办法"],
  queues: ["Queues", "队列"],
  queue: ["Queue", "队列"],
  backlog: ["Waiting", "等待"],
  inFlight: ["In flight", "处理中"],
  workers: ["Workers", "工作节点"],
  wait: ["Expected wait", "预计等待"],
  latest: ["Latest events", "最近事件"],
  event: ["Event", "事件"],
  job: ["Job", "任务"],
  time: ["Time", "时间"],
  paused: ["paused", "已暂停"],
  everyone: ["Choose a user in the settings to see the running jobs from before this page was opened.", "在设置中选择用户，可查看打开本页之前开始的任务。"],
  minute: ["Time", "时间"],
});
const RUNNING = 100;
const LATEST = 12;
const OVERVIEW_SECONDS = 3;
const LOOKS = 4; // the counts follow the events by some seconds
const QUEUES_SECONDS = 15;
const MOST = 2000;
const UNNAMED = ["unknown", "other"]; // no code of a job: those without one, and those of rare codes

export function View() {
  return html`<h1>${t("now")}</h1><${Overview} /><${Running} />${isOperator.value && html`<${Queues} />`}`;
}

function Overview() {
  const { data, error, again } = useLoaded(() => ask("GET", query("/api/v1/overview", { userID: user.value })), [user.value]);
  const looks = useRef(0);
  useEffect(() => listen((events) => { if (events.some(moves)) looks.current = LOOKS; }), []);
  useEvery(OVERVIEW_SECONDS, () => { if (looks.current || error) { looks.current = Math.max(0, looks.current - 1); again(); } }, [user.value, error]);
  if (!data) return error ? html`<${Fault} error=${error} />` : html`<${Loading} />`;
  return html`
    <${Fault} error=${error} />
    <dl class="counts" aria-label=${t("counts")}>
      ${STATES.map((state) => html`
        <div class=${state}><dt>${stateWord(state)}</dt>
          <dd><a href=${`#/jobs?state=${state}`}>${count(data.states[state] ?? 0)}</a></dd></div>`)}
    </dl>
    <${Minutes} minutes=${data.minutes} />
    ${data.failures.length > 0 && html`
      <section><h2>${t("failures")}</h2>
        <table><thead><tr><th scope="col">${t("code")}</th><th scope="col" class="number">${t("jobs")}</th><th scope="col">${t("advice")}</th></tr></thead>
          <tbody>${data.failures.map(({ code, jobs, advice }) => html`
            <tr key=${code}><td><a href=${`#/jobs?state=failed${UNNAMED.includes(code) ? "" : `&code=${encodeURIComponent(code)}`}`}>${code}</a></td><td class="number">${count(jobs)}</td><td class="wide">${advice}</td></tr>`)}
          </tbody></table></section>`}`;
}

const plotted = (colour) => ({
  legend: { live: false },
  cursor: { show: false },
  scales: { y: { range: (_, least, most) => [0, Math.max(4, most)] } },
  series: [{ label: t("minute") }, { label: stateWord("finished"), stroke: colour("good"), fill: `${colour("good")}22`, width: 2, points: { show: false } },
    { label: stateWord("failed"), stroke: colour("bad"), width: 2, points: { show: false } }],
});

function Minutes({ minutes }) {
  const data = useMemo(() => series(minutes), [minutes]);
  if (!minutes.length) return html`<p class="quiet">${t("none")}</p>`;
  const sum = (name) => count(minutes.reduce((total, each) => total + each[name], 0));
  const label = `${t("minutes")}: ${stateWord("finished")} ${sum("finished")}, ${stateWord("failed")} ${sum("failed")}`;
  return html`<section><h2>${t("minutes")}</h2><${Chart} label=${label} data=${data} options=${plotted} height=${160} /></section>`;
}

// The last 60 minutes, those without a move included.
function series(minutes) {
  const known = new Map(minutes.map((each) => [each.at, each]));
  const end = Math.floor(Date.now() / 60_000) * 60;
  const times = Array.from({ length: 60 }, (_, n) => end - (59 - n) * 60);
  return [times, times.map((at) => known.get(at)?.finished ?? 0), times.map((at) => known.get(at)?.failed ?? 0)];
}

function Running() {
  const records = useRef(new Map());
  const ended = useRef(new Set());
  const events = useRef([]);
  const [, redraw] = useState(0);
  const [error, setError] = useState(null);
  useEffect(() => {
    records.current = new Map();
    ended.current = new Set();
    events.current = [];
    const end = listen((some) => {
      for (const event of some) take(records.current, event, ended.current);
      events.current = [...some.filter((event) => event.action !== "JobProgress").reverse(), ...events.current].slice(0, LATEST);
      redraw((n) => n + 1);
    });
    setError(null);
    if (user.value) load(records.current, user.value, ended.current).then(() => redraw((n) => n + 1), setError);
    return end;
  }, [user.value, gaps.value]);
  const running = [...records.current.values()].filter((record) => record.state === "running");
  return html`
    <section><h2>${t("running")} <span class="quiet">${count(running.length)}</span></h2>
      <${Fault} error=${error} />
      ${running.length === 0 && html`<p class="quiet">${t("noneRunning")}<a href="#/send">${t("send")}</a></p>`}
      <ul class="running">${running.slice(0, RUNNING).map((record) => html`
        <li key=${record.jobID}><a href=${`#/job/${record.jobID}`}>${nameOf(record.input)}</a>
          <span class="quiet">${shortId(record.jobID)}${user.value ? "" : ` · ${record.userID}`}</span><${Progress} record=${record} /></li>`)}</ul>
      ${!user.value && html`<p class="quiet">${t("everyone")}</p>`}
    </section>
    <section><h2>${t("latest")}</h2>
      <table class="events"><thead><tr><th scope="col">${t("time")}</th><th scope="col">${t("event")}</th><th scope="col">${t("job")}</th></tr></thead>
        <tbody>${events.current.map((event) => html`
          <tr key=${event.eventID}><td>${moment(event.ts)}</td><td><span class=${`event ${event.action}`}>${event.action}</span></td>
            <td class="wide">${event.batch ? html`<a href=${`#/batch/${event.jobID}`}>${shortId(event.jobID)}</a>` : html`<a href=${`#/job/${event.jobID}`}>${shortId(event.jobID)}</a> ${nameOf(event.job?.input)}`} <span class="quiet">${event.error?.code ?? event.msg ?? ""}</span></td></tr>`)}
        </tbody></table>
    </section>`;
}

// Adds the running jobs. What has ended while the API answered stays away.
async function load(records, userID, ended) {
  const { items } = await page(query("/api/v1/jobs", { userID, state: "running", limit: RUNNING }));
  for (const record of items) if (!records.has(record.jobID) && !ended.has(record.jobID)) records.set(record.jobID, record);
}

function take(records, event, ended) {
  if (event.action === "Gap" || event.batch) return;
  const record = applied(records.get(event.jobID), event);
  if (!record || hasEnded(record.state)) {
    records.delete(event.jobID);
    ended.add(event.jobID);
    if (ended.size > MOST) ended.delete(ended.values().next().value);
  } else {
    records.set(event.jobID, record);
    ended.delete(event.jobID);
  }
  if (records.size > MOST) records.delete(waitingOf(records) ?? records.keys().next().value);
}

// The first job of many that does not run: its JobStart brings it back.
function waitingOf(records) {
  for (const [id, { state }] of records) if (state !== "running") return id;
  return undefined;
}

function Queues() {
  const { data, error, again } = useLoaded(() => ask("GET", "/api/v1/worker/backlog"), []);
  useEvery(QUEUES_SECONDS, again);
  return html`
    <section><h2>${t("queues")}</h2><${Fault} error=${error} />
      ${data && html`<table><thead><tr><th scope="col">${t("queue")}</th><th scope="col" class="number">${t("backlog")}</th><th scope="col" class="number">${t("inFlight")}</th>
        <th scope="col" class="number">${t("workers")}</th><th scope="col" class="number">${t("wait")}</th></tr></thead>
        <tbody>${data.map((each) => html`<tr key=${each.queue}><td><a href="#/fleet">${each.queue}</a> <span class="quiet">${each.paused ? t("paused") : ""} ${each.fault ?? each.outage ?? ""}</span></td>
          <td class="number">${count(each.visible)}</td><td class="number">${count(each.inFlight)}</td><td class="number">${count(each.readyReplicas)}</td>
          <td class="number">${seconds(each.expectedSeconds)}</td></tr>`)}</tbody></table>`}
    </section>`;
}

