// One job: what it is and was, its input beside its outputs, its attempts and parts in time, its error with the log.
import { ask, page } from "../api.js";
import { Copyable, Fault, Figure, Loading, Progress, State, useEvery, useLoaded } from "../parts.js";
import { NONE, bitrate, bytes, count, decimal, dollars, moment, nameOf, percent, seconds, shortId } from "../format.js";
import { attempt, say } from "../notices.js";
import { linksOf } from "../links.js";
import { listen } from "../live.js";
import { applied, canRetry, hasEnded, kindWord, mainOutput, runSeconds } from "../records.js";
import { Quality } from "../quality.js";
import { Timeline } from "../timeline.js";
import { words } from "../words.js";
import { html, useEffect, useRef } from "../../vendor/libraries.js";

const t = words({
  cancel: ["Cancel", "取消任务"],
  retry: ["Retry", "重试"],
  watch: ["Watch the result", "观看结果"],
  sure: ["Cancel this job? What it has encoded is lost.", "确定取消该任务吗？已编码的内容将丢失。"],
  cancelled: ["The job is cancelled.", "任务已取消。"],
  retried: ["The job runs again.", "任务已重新运行。"],
  user: ["User", "用户"], kind: ["Kind", "类型"], attempt: ["Attempt", "尝试次数"], queue: ["Queue", "队列"], created: ["Created", "创建时间"],
  waited: ["Waited", "等待"], took: ["Ran", "运行"], worker: ["Worker", "工作节点"], batch: ["Batch", "批次"], plan: ["Plan", "预估"],
  copyOf: ["Copied from", "复制自"], replaces: ["Replaces outputs of", "覆盖了其输出"], replacedBy: ["Replaced by", "已被覆盖"], priority: ["Priority", "优先级"],
  cost: ["Worker cost", "节点费用"], cpu: ["CPU", "CPU 时间"], error: ["Error", "错误"], log: ["The encoder's last lines", "编码器日志末尾"],
  warnings: ["Warnings", "警告"], result: ["Input and output", "输入与输出"], input: ["Input", "输入"], output: ["Output", "输出"],
  codec: ["Codec", "编码"], size: ["Size", "大小"], picture: ["Picture", "画面"], rate: ["Bitrate", "码率"], length: ["Length", "时长"], frames: ["Frames", "帧数"], saved: ["Saved", "节省"],
  files: ["Files", "文件"], file: ["File", "文件"], role: ["Role", "用途"], pictures: ["Pictures", "图片"], thumbnail: ["Thumbnail of {name}", "{name} 的缩略图"],
  timeline: ["Attempts and parts", "尝试与分片"], profile: ["Resolved profile", "解析后的配置"], certificate: ["Certificate", "证书"],
  origin: ["Original", "原片"], id: ["Job", "任务"], vmaf: ["VMAF", "VMAF"], larger: ["{n} larger", "增大 {n}"],
});
const PARTS_SECONDS = 5;
const LINKS_SECONDS = 20; // a link that is shown has more than a minute less this left

export function View({ id }) {
  const { data: record, error, again, setData } = useLoaded(() => ask("GET", `/api/v1/jobs/${encodeURIComponent(id)}/status`), [id]);
  const latest = useRef(null);
  latest.current = record;
  useEffect(() => listen((events) => {
    const mine = events.filter((event) => event.jobID === id || event.action === "Gap");
    if (!mine.length || !latest.current) return;
    const before = latest.current, after = mine.reduce(applied, before);
    if (after !== before) setData(after);
    // The first events after a connection are older than the record.
    if (after.state !== before.state || after.attempt !== before.attempt || mine.some((event) => event.action === "Gap")) again();
  }), [id]);
  if (!record) return error ? html`<h1>${t("id")} ${shortId(id)}</h1><${Fault} error=${error} />` : html`<${Loading} />`;
  return html`
    <div class="heading"><h1>${nameOf(record.input)}</h1><${State} state=${record.state} /><${Progress} record=${record} /></div>
    <${Actions} record=${record} done=${setData} />
    ${record.error && html`<${Failed} error=${record.error} />`}
    <${Facts} record=${record} />
    <${Warnings} warnings=${record.warnings} />
    <${Result} record=${record} />
    ${record.quality && html`<${Quality} record=${record} />`}
    <${Times} record=${record} />
    <section><h2>${t("profile")}</h2><${Copyable} block label=${t("profile")} text=${JSON.stringify(record.profile, null, 2)} /></section>`;
}

function Actions({ record, done }) {
  const act = (method, suffix, word) => () => attempt(async () => {
    done(await ask(method, `/api/v1/jobs/${record.jobID}${suffix}`));
    say(t(word));
  });
  const cancel = act("DELETE", "", "cancelled");
  return html`
    <div class="actions">
      ${record.state === "finished" && record.kind !== "plan" && mainOutput(record) && html`<a class="button primary" href=${`#/watch/${record.jobID}`}>${t("watch")}</a>`}
      ${!hasEnded(record.state) && html`<button type="button" onClick=${() => confirm(t("sure")) && cancel()}>${t("cancel")}</button>`}
      ${canRetry(record.state) && html`<button type="button" class="primary" onClick=${act("POST", "/retry", "retried")}>${t("retry")}</button>`}
      <${Copyable} text=${record.jobID} label=${t("id")} />
    </div>`;
}

const Failed = ({ error }) => html`
  <section class="failed"><h2>${t("error")}: <code>${error.code}</code></h2><p>${error.message}</p>
    ${error.log?.length > 0 && html`<h3>${t("log")}</h3><pre tabindex="0">${error.log.join("\n")}</pre>`}</section>`;

function Facts({ record }) {
  const jobs = (ids) => [ids].flat().map((each) => html`<a href=${`#/job/${each}`}>${shortId(each)}</a> `);
  const rows = {
    user: record.userID,
    kind: kindWord(record.kind),
    created: moment(record.createdAt),
    waited: record.startedAt && record.queuedAt ? seconds(Math.max(0, record.startedAt - record.queuedAt)) : null,
    took: record.startedAt ? seconds(runSeconds(record)) : null,
    cpu: cpuSeconds(record),
    cost: record.dollars != null ? dollars(record.dollars) : null,
    attempt: record.attempt || null,
    priority: record.priority || null,
    queue: record.queue && html`<span title=${record.queueReason}>${record.queue}</span>`,
    worker: record.worker,
    batch: record.batchID && html`<a href=${`#/batch/${record.batchID}`}>${shortId(record.batchID)}</a>`,
    copyOf: record.copyOf && jobs(record.copyOf),
    replaces: record.replaces?.length && jobs(record.replaces),
    replacedBy: record.replacedBy && jobs(record.replacedBy),
  };
  const { input, origin, output } = record;
  const shown = (some) => Object.entries(some).filter(([, value]) => value).map(([name, value]) => html`<${Figure} name=${t(name)}>${value}</${Figure}>`);
  return html`<section><dl class="figures">${shown(rows)}</dl><dl class="figures addresses">${shown({ input, origin, output })}</dl></section>`;
}

function cpuSeconds(record) {
  const known = (record.outputs ?? []).filter((each) => each.cpuSeconds != null);
  return known.length ? seconds(known.reduce((sum, each) => sum + each.cpuSeconds, 0)) : null;
}

const Warnings = ({ warnings }) => warnings?.length > 0 && html`
  <section><h2>${t("warnings")}</h2><ul class="plain">${warnings.map(({ code, message }) => html`<li><code>${code}</code> ${message}</li>`)}</ul></section>`;

// Outputs with the input's facts, as the certificate has them, and thumbnails by presigned links.
function Result({ record }) {
  const outputs = record.outputs ?? [];
  const about = [record.jobID, record.state, outputs.length];
  const { data: links, error, again } = useLoaded(() => (outputs.length ? linksOf(record.jobID, record.state) : null), about);
  useEvery(LINKS_SECONDS, () => { if (outputs.length) again(); }, about);
  const { data: source } = useLoaded(() => (outputs.length ? sourceOf(record) : null), about);
  const videos = outputs.filter((each) => each.role === "file" || each.role === "rendition");
  const rows = [...(source ? [source] : []), ...videos.map((each) => shown(each, source, record.quality))];
  return html`
    <${Fault} error=${error} />
    ${rows.length > 0 && html`
      <section><h2>${t("result")}</h2>
        <table><thead><tr><th scope="col">${t("file")}</th>${["codec", "picture", "size", "saved", "rate", "length", "frames", "vmaf"].map((name) => html`<th scope="col" class="number">${t(name)}</th>`)}</tr></thead>
          <tbody>${rows.map((each) => html`<tr><th scope="row">${each.name}</th>${[each.codec, each.picture, bytes(each.bytes), each.saved ?? NONE, bitrate(each.bitrate), seconds(each.duration), count(each.frames), decimal(each.vmaf)]
            .map((cell) => html`<td class="number">${cell}</td>`)}</tr>`)}</tbody></table>
        <${Pictures} record=${record} links=${links} /></section>`}
    ${outputs.length > 0 && html`<${Files} outputs=${outputs} links=${links} />`}`;
}

// The input as the certificate has it; nothing where there is none, or it is no longer there.
async function sourceOf(record) {
  const certificate = record.outputs.find((each) => each.role === "certificate" && each.uri.endsWith(".json"));
  const url = certificate && (await linksOf(record.jobID, record.state)).get(certificate.uri);
  const answer = url && await fetch(url);
  const input = answer?.ok ? (await answer.json()).input : null;
  return input && {
    name: t("input"), codec: input.video?.codec ?? input.audio?.[0]?.codec, picture: input.video ? `${input.video.width} × ${input.video.height}` : NONE,
    bytes: input.bytes, bitrate: input.video?.bitrate, duration: input.duration, frames: input.video?.frames,
  };
}

function shown(output, source, quality) {
  const share = source?.bytes ? 100 * (1 - output.bytes / source.bytes) : null;
  return {
    name: output.role === "rendition" ? nameOf(output.uri) : t("output"), codec: output.videoCodec ?? output.codecs ?? NONE,
    picture: output.width ? `${output.width} × ${output.height}` : NONE, bytes: output.bytes, bitrate: output.bitrate, duration: output.duration, frames: output.frames,
    saved: share === null ? NONE : share < 0 ? t("larger", { n: percent(-share) }) : percent(share), vmaf: (output.vmaf ?? (output.role === "file" ? quality?.vmaf : null))?.mean,
  };
}

function Pictures({ record, links }) {
  const found = (record.outputs ?? []).filter((each) => ["poster", "sprite"].includes(each.role) && /\.(jpg|jpeg|png|webp)$/.test(each.uri)).slice(0, 6);
  if (!links || !found.length) return null;
  return html`<h3>${t("pictures")}</h3><div class="pictures">${found.map((each) => html`<img src=${links.get(each.uri)} alt=${t("thumbnail", { name: nameOf(record.input) })} loading="lazy" />`)}</div>`;
}

const Files = ({ outputs, links }) => html`
  <section><h2>${t("files")}</h2>
    <table><thead><tr><th scope="col">${t("file")}</th><th scope="col">${t("role")}</th><th scope="col" class="number">${t("size")}</th></tr></thead>
      <tbody>${outputs.map(({ uri, role, bytes: size }) => html`<tr><td class="wide">${links?.get(uri) ? html`<a href=${links.get(uri)} rel="noreferrer" target="_blank">${nameOf(uri)}</a>` : nameOf(uri)} <span class="quiet">${uri}</span></td>
        <td>${role}</td><td class="number">${bytes(size)}</td></tr>`)}</tbody></table></section>`;

function Times({ record }) {
  const { data, again } = useLoaded(async () => ({
    events: (await page(`/api/v1/jobs/${record.jobID}?limit=1000`)).items,
    parts: record.division?.parts ? await ask("GET", `/api/v1/jobs/${record.jobID}/parts`) : [],
  }), [record.jobID, record.state, record.attempt, record.division?.parts]);
  useEvery(PARTS_SECONDS, () => { if (record.division?.parts && !hasEnded(record.state)) again(); }, [record.state]);
  if (!data) return null;
  return html`<section><h2>${t("timeline")}</h2><${Timeline} record=${record} ...${data} /></section>`;
}
