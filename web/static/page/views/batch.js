// One batch: its counts and rate, failures by code, refused lines of its manifest, and its scores.
import { ask, page, query, retryFailed } from "../api.js";
import { Copyable, Fault, Figure, Loading, State, useEvery, useLoaded } from "../parts.js";
import { Distribution } from "../quality.js";
import { NONE, count, decimal, moment, percent, seconds, shortId } from "../format.js";
import { listen } from "../live.js";
import { attempt, say } from "../notices.js";
import { STATES, stateWord } from "../records.js";
import { chooseUser, isOperator } from "../session.js";
import { words } from "../words.js";
import { html, useEffect, useRef } from "../../vendor/libraries.js";

const t = words({
  batch: ["Batch", "批次"], cancel: ["Cancel", "取消批次"], retry: ["Retry the failed jobs", "重试失败任务"], jobs: ["Show its jobs", "查看任务"],
  sure: ["Cancel this batch and all its open jobs?", "确定取消该批次及其所有未完成任务吗？"],
  cancelled: ["The batch is cancelled.", "批次已取消。"], retried: ["{n} jobs run again.", "{n} 个任务已重新运行。"],
  progress: ["Progress", "进度"], left: ["{time} left", "剩余 {time}"], rate: ["Jobs per second", "每秒任务数"], created: ["Created", "创建时间"], ended: ["Ended", "结束时间"],
  total: ["Jobs", "任务数"], source: ["Inputs", "输入"], output: ["Output", "输出"], user: ["User", "用户"], failures: ["Failures by code", "按错误代码分组的失败"], code: ["Code", "代码"],
  faults: ["Refused lines", "被拒绝的行"], line: ["Line", "行"], why: ["Why", "原因"], more: ["The first {n} of {all} are shown.", "仅显示前 {n} 行，共 {all} 行。"],
  profile: ["Profile", "配置"], error: ["Error", "错误"], warnings: ["Warnings", "警告"],
});
const EVERY_SECONDS = 3;
const LOOKS = 4; // the counts follow the events by some seconds
const SCORED = 1000;

export function BatchBar({ batch }) {
  const { progress } = batch;
  return html`<span class="progress"><progress max="100" value=${progress.percent} aria-label=${t("progress")}></progress><span class="figure">${percent(progress.percent)}</span>
    <span class="quiet">${progress.etaSeconds != null && !batch.endedAt ? t("left", { time: seconds(progress.etaSeconds) }) : ""}</span></span>`;
}

export function View({ id }) {
  const { data: batch, error, again, setData } = useLoaded(() => ask("GET", `/api/v1/batches/${encodeURIComponent(id)}`), [id]);
  // A retried job opens a batch again that had ended.
  const looks = useRef(0);
  useEffect(() => listen((events) => { if (events.some((event) => event.batchID === id)) looks.current = LOOKS; }), [id]);
  useEvery(EVERY_SECONDS, () => {
    if (batch && (!batch.endedAt || looks.current)) again();
    looks.current = Math.max(0, looks.current - 1);
  }, [batch?.endedAt]);
  if (!batch) return error ? html`<h1>${t("batch")} ${shortId(id)}</h1><${Fault} error=${error} />` : html`<${Loading} />`;
  // The list of jobs is that of the chosen user.
  const choose = () => { if (isOperator.value) chooseUser(batch.userID); };
  const isOpen = ["expanding", "running"].includes(batch.state);
  const cancel = () => attempt(async () => { setData(await ask("DELETE", `/api/v1/batches/${batch.batchID}`)); say(t("cancelled")); });
  const retry = () => attempt(async () => {
    const retried = await retryFailed(batch.userID, id);
    say(t("retried", { n: count(retried) }));
    again();
  });
  return html`
    <div class="heading"><h1>${t("batch")} ${shortId(id)}</h1><${State} state=${batch.state} /><${BatchBar} batch=${batch} /></div>
    <div class="actions"><a class="button" href=${`#/jobs?batchID=${id}`} onClick=${choose}>${t("jobs")}</a>
      ${isOpen && html`<button type="button" onClick=${() => confirm(t("sure")) && cancel()}>${t("cancel")}</button>`}
      ${batch.failed > 0 && html`<button type="button" onClick=${retry}>${t("retry")}</button>`}<${Copyable} text=${id} label=${t("batch")} /></div>
    <${Fault} error=${error} />
    ${batch.error && html`<section class="failed"><h2>${t("error")}: <code>${batch.error.code}</code></h2><p>${batch.error.message}</p></section>`}
    <dl class="counts">${STATES.map((state) => html`<div class=${state}><dt>${stateWord(state)}</dt><dd><a href=${`#/jobs?batchID=${id}&state=${state}`} onClick=${choose}>${count(batch[state])}</a></dd></div>`)}</dl>
    <section><dl class="figures">
      <${Figure} name=${t("total")}>${count(batch.total)}</${Figure}><${Figure} name=${t("rate")}>${decimal(batch.progress.jobsPerSecond, 2)}</${Figure}>
      <${Figure} name=${t("created")}>${moment(batch.createdAt)}</${Figure}><${Figure} name=${t("ended")}>${batch.endedAt ? moment(batch.endedAt) : NONE}</${Figure}>
      <${Figure} name=${t("user")}>${batch.userID}</${Figure}><${Figure} name=${t("source")}>${batch.manifest ?? batch.prefix ?? NONE}</${Figure}><${Figure} name=${t("output")}>${batch.output}</${Figure}></dl></section>
    ${batch.warnings.length > 0 && html`<section><h2>${t("warnings")}</h2><ul class="plain">${batch.warnings.map((each) => html`<li>${each}</li>`)}</ul></section>`}
    <${Failures} batch=${batch} choose=${choose} /><${Faults} batch=${batch} /><${Scores} batch=${batch} />
    <section><h2>${t("profile")}</h2><${Copyable} block label=${t("profile")} text=${JSON.stringify(batch.profile, null, 2)} /></section>`;
}

function Failures({ batch, choose }) {
  const codes = Object.entries(batch.failures);
  return codes.length > 0 && html`<section><h2>${t("failures")}</h2><table><thead><tr><th scope="col">${t("code")}</th><th scope="col" class="number">${t("total")}</th></tr></thead>
    <tbody>${codes.map(([code, jobs]) => html`<tr><td><a href=${`#/jobs?batchID=${batch.batchID}&state=failed&code=${encodeURIComponent(code)}`} onClick=${choose}>${code}</a></td><td class="number">${count(jobs)}</td></tr>`)}</tbody></table></section>`;
}

function Faults({ batch }) {
  if (!batch.faultCount) return null;
  return html`<section><h2>${t("faults")}</h2><table><thead><tr><th scope="col">${t("line")}</th><th scope="col">${t("why")}</th></tr></thead>
    <tbody>${batch.faults.map((each) => html`<tr><td class="number">${count(each.line)}</td><td class="wide">${each.detail}</td></tr>`)}</tbody></table>
    ${batch.faultCount > batch.faults.length && html`<p class="quiet">${t("more", { n: count(batch.faults.length), all: count(batch.faultCount) })}</p>`}</section>`;
}

function Scores({ batch }) {
  const { data } = useLoaded(() => page(query("/api/v1/jobs", { userID: batch.userID, batchID: batch.batchID, state: "finished", limit: SCORED })), [batch.batchID, batch.state]);
  const scored = (data?.items ?? []).filter((record) => record.quality);
  return scored.length > 0 && html`<${Distribution} records=${scored} />`;
}
