// The scores of a job: its figures, its rungs by bitrate, its frames over time, and the worst moments as pictures.
import { Fault, Figure, Loading, useLoaded } from "./parts.js";
import { bytes, count, decimal } from "./format.js";
import { go } from "./address.js";
import { Curve } from "./curve.js";
import { opener } from "./links.js";
import { METRICS, Rates, Scores } from "./over-time.js";
import { Moments } from "./player/moments.js";
import { filmsOf, reportOf } from "./player/films.js";
import { ratesOf, reader } from "./player/mp4.js";
import { reportFrom, worstOf } from "./player/report.js";
import { words } from "./words.js";
import { html, useEffect, useMemo, useRef, useState } from "../vendor/libraries.js";

export { Curve } from "./curve.js";
export { Distribution } from "./distribution.js";

const t = words({
  quality: ["Quality", "质量"],
  mean: ["VMAF, mean", "VMAF 平均"], p5: ["5th percentile", "第 5 百分位"], min: ["Lowest", "最低"], passed: ["Minimum", "最低要求"],
  yes: ["reached", "达到"], no: ["missed", "未达到"], frames: ["Frames scored", "评分帧数"], model: ["Model", "模型"],
  overTime: ["Score over time", "分数随时间变化"], metric: ["Score", "指标"],
  load: ["Load the scores of all frames ({size})", "加载所有帧的分数（{size}）"],
});
const SMALL_BYTES = 4e6;

// `onSeek(seconds)` shows a moment, by default in the player of the job; `position` is a signal of the second that a player
// shows, and `rates` are [{ start, end, bitrate }] of what it plays. Shows nothing for a job without a score.
export function Quality({ record, onSeek, position, rates }) {
  const { vmaf, psnr, ssim, msSsim, passed } = record.quality ?? {};
  if (!vmaf) return null;
  const seek = onSeek ?? ((seconds) => go(`/watch/${record.jobID}?at=${seconds.toFixed(3)}`));
  const figures = [
    [t("mean"), decimal(vmaf.mean, 2)], [t("p5"), decimal(vmaf.p5, 2)], [t("min"), decimal(vmaf.min, 2)],
    ["PSNR", psnr && `${decimal(psnr.mean, 2)} dB`], ["SSIM", ssim && decimal(ssim.mean, 4)], ["MS-SSIM", msSsim && decimal(msSsim.mean, 4)],
    [t("passed"), passed == null ? null : html`<span class=${passed ? "" : "fault"}>${t(passed ? "yes" : "no")}</span>`],
    [t("frames"), count(vmaf.frames)], [t("model"), vmaf.model],
  ];
  return html`
    <section class="quality"><h2>${t("quality")}</h2>
      <dl class="figures">${figures.filter(([, value]) => value).map(([name, value]) => html`<${Figure} name=${name}>${value}</${Figure}>`)}</dl>
      <${Curve} record=${record} />
      <${Frames} record=${record} seek=${seek} position=${position} rates=${rates} />
      ${rates && !reportOf(record) && html`<${Rates} rates=${rates} seek=${seek} position=${position} />`}
    </section>`;
}

// The report is read when its place comes into sight; a large one by a button.
function Frames({ record, ...others }) {
  const report = reportOf(record);
  const [isWanted, setWanted] = useState(false);
  const holder = useRef();
  const isSmall = report?.bytes < SMALL_BYTES;
  useEffect(() => {
    if (!report || !isSmall || isWanted) return undefined;
    const seen = new IntersectionObserver((entries) => { if (entries.some((each) => each.isIntersecting)) setWanted(true); });
    seen.observe(holder.current);
    return () => seen.disconnect();
  }, [report?.uri, isWanted]);
  if (!report) return null;
  return html`<h3 ref=${holder}>${t("overTime")}</h3>
    ${isWanted ? html`<${Loaded} record=${record} uri=${report.uri} ...${others} />`
      : !isSmall && html`<button type="button" onClick=${() => setWanted(true)}>${t("load", { size: bytes(report.bytes) })}</button>`}`;
}

function Loaded({ record, uri, seek, position, rates }) {
  const open = useMemo(() => opener(record.jobID), [record.jobID]);
  const { data: report, error } = useLoaded(() => reportFrom(open, uri, filmsOf(record).rate), [uri]);
  const { data: ofFile } = useLoaded(() => fileRates(record, open), [uri]);
  const places = useMemo(() => report && worstOf(report), [report]);
  const [metric, setMetric] = useState("vmaf");
  if (error) return html`<${Fault} error=${error} />`;
  if (!report) return html`<${Loading} />`;
  const names = Object.keys(report.metrics);
  return html`
    ${names.length > 1 && html`<label class="inline">${t("metric")} <select value=${metric} onChange=${(event) => setMetric(event.target.value)}>
      ${names.map((name) => html`<option value=${name}>${METRICS[name]}</option>`)}</select></label>`}
    <${Scores} key=${metric} report=${report} metric=${metric} seek=${seek} position=${position} rates=${rates ?? ofFile} />
    <${Moments} record=${record} open=${open} report=${report} places=${places} seek=${seek} />`;
}

// The bitrate over time of the file that was scored; null where it is no MP4 with an index.
async function fileRates(record, open) {
  const file = filmsOf(record).versions.find((each) => !each.isPackage);
  return file && ratesOf(reader((await open(file.uri)).url));
}
