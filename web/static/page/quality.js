// Scores: of each frame over time with the worst moments as pictures, of rungs by bitrate, and of the jobs of a batch.
import { Chart, Fault, Figure, Loading, useLoaded } from "./parts.js";
import { bitrate, bytes, count, decimal, nameOf, shortId } from "./format.js";
import { go } from "./address.js";
import { opener } from "./links.js";
import { Moments } from "./player/moments.js";
import { clock, filmsOf, reportOf } from "./player/films.js";
import { columnsOf, middleOf, reportFrom, worstOf } from "./player/report.js";
import { words } from "./words.js";
import { Plot, html, useEffect, useMemo, useRef, useState } from "../vendor/libraries.js";

const t = words({
  quality: ["Quality", "质量"],
  mean: ["VMAF, mean", "VMAF 平均"], p5: ["5th percentile", "第 5 百分位"], min: ["Lowest", "最低"], passed: ["Minimum", "最低要求"],
  yes: ["reached", "达到"], no: ["missed", "未达到"], frames: ["Frames scored", "评分帧数"], model: ["Model", "模型"],
  overTime: ["Score over time", "分数随时间变化"],
  chart: ["VMAF of {n} frames; the lowest is {low} at {at}", "{n} 帧的 VMAF；最低 {low}，位于 {at}"],
  load: ["Load the scores of all frames ({size})", "加载所有帧的分数（{size}）"],
  hint: ["Move over the chart for a frame's score; click to watch it.", "在图上移动查看单帧分数，点击观看该帧。"],
  point: ["frame {frame} · {at} · {scores}", "第 {frame} 帧 · {at} · {scores}"],
  low: ["lowest", "最低"], average: ["mean", "平均"], time: ["Time", "时间"], bits: ["Bitrate", "码率"],
  curve: ["Quality by bitrate", "质量与码率曲线"], rung: ["Rung", "档位"], codec: ["Codec", "编码"], probed: ["probed", "试编码"],
  distribution: ["Scores of {n} jobs", "{n} 个任务的分数分布"], jobs: ["Jobs", "任务数"], lowest: ["The lowest", "分数最低"], range: ["VMAF {from} to {to}: {n} jobs", "VMAF {from} 至 {to}：{n} 个任务"],
  metric: ["Score", "指标"],
  ratesOverTime: ["Bitrate over time", "码率随时间变化"], rateChart: ["Bitrate of each segment; the highest is {most} at {at}", "各分段的码率；最高 {most}，位于 {at}"],
});
const LABELS = { vmaf: "VMAF", psnr: "PSNR", ssim: "SSIM", float_ms_ssim: "MS-SSIM" };
const COLUMNS = 1000;
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const SMALL_BYTES = 4e6;

// A job's scores. `onSeek(seconds)` shows a moment, by default in the player of the job; `position` is a signal of the second
// that a player shows, and `bitrates` are [{ start, end, bitrate }] of what it plays.
export function Quality({ record, onSeek, position, bitrates }) {
  const { vmaf, passed } = record.quality ?? {};
  if (!vmaf) return null;
  const seek = onSeek ?? ((seconds) => go(`/watch/${record.jobID}?at=${seconds.toFixed(3)}`));
  const others = Object.entries({ PSNR: record.quality.psnr, SSIM: record.quality.ssim, "MS-SSIM": record.quality.msSsim }).filter(([, value]) => value);
  return html`
    <section class="quality"><h2>${t("quality")}</h2>
      <dl class="figures">
        <${Figure} name=${t("mean")}>${decimal(vmaf.mean, 2)}</${Figure}><${Figure} name=${t("p5")}>${decimal(vmaf.p5, 2)}</${Figure}>
        <${Figure} name=${t("min")}>${decimal(vmaf.min, 2)}</${Figure}>
        ${others.map(([name, { mean }]) => html`<${Figure} name=${name}>${decimal(mean, name === "PSNR" ? 2 : 4)}${name === "PSNR" ? " dB" : ""}</${Figure}>`)}
        ${passed != null && html`<${Figure} name=${t("passed")}>${passed ? t("yes") : html`<span class="fault">${t("no")}</span>`}</${Figure}>`}
        <${Figure} name=${t("frames")}>${count(vmaf.frames)}</${Figure}><${Figure} name=${t("model")}>${vmaf.model}</${Figure}>
      </dl>
      <${Curve} record=${record} />
      <${Frames} record=${record} seek=${seek} position=${position} bitrates=${bitrates} />
      ${bitrates && !reportOf(record) && html`<${Bitrates} bitrates=${bitrates} seek=${seek} position=${position} />`}
    </section>`;
}

// The report is read when its place comes into sight; a large one by a button.
function Frames({ record, seek, position, bitrates }) {
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
    ${isWanted ? html`<${Loaded} record=${record} uri=${report.uri} seek=${seek} position=${position} bitrates=${bitrates} />`
      : !isSmall && html`<button type="button" onClick=${() => setWanted(true)}>${t("load", { size: bytes(report.bytes) })}</button>`}`;
}

function Loaded({ record, uri, seek, position, bitrates }) {
  const open = useMemo(() => opener(record.jobID), [record.jobID]);
  const { data: report, error } = useLoaded(() => reportFrom(open, uri, filmsOf(record).rate), [uri]);
  const [metric, setMetric] = useState("vmaf");
  if (error) return html`<${Fault} error=${error} />`;
  if (!report) return html`<${Loading} />`;
  const names = Object.keys(report.metrics);
  return html`
    ${names.length > 1 && html`<label class="inline">${t("metric")} <select value=${metric} onChange=${(event) => setMetric(event.target.value)}>
      ${names.map((name) => html`<option value=${name}>${LABELS[name]}</option>`)}</select></label>`}
    <${Scores} key=${metric} report=${report} metric=${metric} seek=${seek} position=${position} bitrates=${bitrates} />
    <${Moments} record=${record} open=${open} report=${report} places=${worstOf(report)} seek=${seek} />`;
}

function Scores({ report, metric, seek, position, bitrates }) {
  const columns = useMemo(() => columnsOf(report, metric, COLUMNS), [report, metric]);
  const [point, setPoint] = useState(null);
  const seeking = useLatest(seek);
  const data = useMemo(() => {
    const times = columns.places.map((place) => report.seconds[place]);
    const rates = bitrates && times.map((at) => bitrates.find((each) => at >= each.start && at < each.end)?.bitrate ?? null);
    const isThinned = columns.places.length < report.numbers.length;
    return { lines: [times, columns.lows, isThinned ? columns.means : columns.lows.map(() => null), ...(rates ? [rates] : [])], isThinned };
  }, [columns, bitrates]);
  const options = useMemo(() => (colour) => scorePlot(colour, { isThinned: data.isThinned, hasRates: data.lines.length > 3, isPercent: metric === "vmaf",
    onPoint: (index) => setPoint(index == null ? null : columns.places[index]), onClick: (index) => seeking.current(middleOf(report, columns.places[index])) }), [columns, data.isThinned, data.lines.length]);
  const worst = worstOf(report)[0];
  const label = t("chart", { n: count(report.numbers.length), low: decimal(report.metrics.vmaf[worst], 1), at: clock(report.seconds[worst], 1) });
  return html`
    <div class="scores"><${Chart} label=${label} data=${data.lines} options=${options} height=${220} onPlot=${(plot) => followed(plot, position)} /></div>
    <p class="quiet readout">${point === null ? t("hint") : t("point", { frame: count(report.numbers[point]), at: clock(report.seconds[point]),
      scores: Object.entries(report.metrics).map(([name, values]) => `${LABELS[name]} ${decimal(values[point], name === "vmaf" || name === "psnr" ? 2 : 4)}`).join(", ") })}</p>`;
}

function scorePlot(colour, { isThinned, hasRates, isPercent, onPoint, onClick }) {
  const line = (name, width = 1.5) => ({ stroke: colour(name), width, points: { show: false } });
  return {
    legend: { show: isThinned || hasRates, live: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: { range: (_, least, most) => (isPercent ? [Math.max(0, Math.min(least - 2, 80)), Math.max(100, most)] : [least, most]) }, bits: { range: (_, __, most) => [0, 1.3 * (most || 1)] } },
    axes: [{ incrs: TICKS, values: (_, values) => { const places = values.some((each) => each % 1) ? 1 : 0; return values.map((each) => clock(each, places)); } }, {}, ...(hasRates ? [{ scale: "bits", side: 1, size: 90, grid: { show: false }, values: (_, values) => values.map(bitrate) }] : [])],
    series: [{ label: t("time") }, { label: isThinned ? t("low") : "", ...line("accent") }, { label: t("average"), show: isThinned, ...line("good") },
      ...(hasRates ? [{ label: t("bits"), scale: "bits", ...line("quiet", 1), fill: `${colour("quiet")}22` }] : [])],
    hooks: {
      setCursor: [(plot) => onPoint(plot.cursor.idx)],
      ready: [(plot) => plot.over.addEventListener("click", () => plot.cursor.idx != null && onClick(plot.cursor.idx))],
    },
  };
}

// The bitrate over time of what plays, where no frame has a score.
function Bitrates({ bitrates, seek, position }) {
  const data = useMemo(() => [[...bitrates.map((each) => each.start), bitrates.at(-1).end], [...bitrates.map((each) => each.bitrate), bitrates.at(-1).bitrate]], [bitrates]);
  const seeking = useLatest(seek);
  const options = useMemo(() => (colour) => ({
    legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, 1.1 * most] } },
    axes: [{ incrs: TICKS, values: (_, values) => values.map((each) => clock(each, each % 1 ? 1 : 0)) }, { size: 90, values: (_, values) => values.map(bitrate) }],
    series: [{}, { stroke: colour("accent"), fill: `${colour("accent")}22`, paths: Plot.paths.stepped({ align: 1 }), points: { show: false } }],
    hooks: { ready: [(plot) => plot.over.addEventListener("click", () => seeking.current(plot.posToVal(plot.cursor.left, "x")))] },
  }), []);
  const most = bitrates.reduce((a, b) => (b.bitrate > a.bitrate ? b : a));
  return html`<h3>${t("ratesOverTime")}</h3><div class="scores"><${Chart} label=${t("rateChart", { most: bitrate(most.bitrate), at: clock(most.start, 1) })} data=${data} options=${options} height=${160}
    onPlot=${(plot) => followed(plot, position)} /></div>`;
}

// A reference to the value of the latest rendering, for what a plot calls later.
function useLatest(value) {
  const latest = useRef();
  latest.current = value;
  return latest;
}

// Draws a line where the player is, until the plot goes.
function followed(plot, position) {
  if (!position) return;
  const line = document.createElement("div");
  line.className = "playhead";
  plot.over.append(line);
  const end = position.subscribe((seconds) => { if (line.isConnected || !end) line.style.left = `${plot.valToPos(seconds, "x")}px`; });
  plot.hooks.destroy = [...(plot.hooks.destroy ?? []), end];
}

// The rungs of a package with their scores: a line for each codec, and beside it what probes of the title showed.
export function Curve({ record }) {
  const rungs = (record.outputs ?? []).filter((each) => each.role === "rendition" && each.vmaf && each.bitrate);
  const points = record.ladder?.points ?? [];
  const lines = useMemo(() => {
    const named = new Map();
    for (const each of rungs) {
      const name = [(each.codecs ?? each.videoCodec ?? "").split(".")[0], each.dynamicRange === "sdr" ? null : each.dynamicRange].filter(Boolean).join(" ");
      named.set(name, [...(named.get(name) ?? []), { x: each.bitrate, y: each.vmaf.mean, label: `${Math.min(each.width, each.height)}p` }]);
    }
    return [...named];
  }, [record.outputs]);
  const xs = [...new Set([...rungs, ...points].map((each) => each.bitrate))].sort((a, b) => a - b);
  const placed = (some) => { const at = new Map(some.map(({ x, y }) => [x, y])); return xs.map((x) => at.get(x) ?? null); };
  const data = useMemo(() => [xs, ...lines.map(([, some]) => placed(some)), placed(points.map((each) => ({ x: each.bitrate, y: each.vmaf })))], [lines]);
  const options = useMemo(() => (colour) => curvePlot(colour, lines), [lines]);
  if (!rungs.length) return null;
  return html`<h3>${t("curve")}</h3>
    <${Chart} label=${`${t("curve")}: ${rungs.map((each) => `${bitrate(each.bitrate)} ${decimal(each.vmaf.mean, 1)}`).join(", ")}`} data=${data} options=${options} height=${240} />
    <table><thead><tr><th scope="col">${t("rung")}</th><th scope="col">${t("codec")}</th><th scope="col" class="number">${t("bits")}</th><th scope="col" class="number">${t("mean")}</th><th scope="col" class="number">${t("p5")}</th></tr></thead>
      <tbody>${rungs.map((each) => html`<tr><td>${each.width} × ${each.height}</td><td>${each.codecs}</td><td class="number">${bitrate(each.bitrate)}</td><td class="number">${decimal(each.vmaf.mean, 2)}</td><td class="number">${decimal(each.vmaf.p5, 2)}</td></tr>`)}</tbody></table>`;
}

const TINTS = ["accent", "good", "warn", "bad"];

function curvePlot(colour, lines) {
  const write = (plot) => {
    plot.ctx.save();
    plot.ctx.fillStyle = colour("text");
    plot.ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    for (const [, some] of lines) for (const { x, y, label } of some) plot.ctx.fillText(label, plot.valToPos(x, "x", true) + 8, plot.valToPos(y, "y", true) + 14 * devicePixelRatio);
    plot.ctx.restore();
  };
  return {
    legend: { show: lines.length > 1, live: false },
    cursor: { show: false },
    scales: { x: { time: false, distr: 3, range: (_, least, most) => [least / 1.3, most * 1.5] }, y: { range: (_, least, most) => [Math.max(0, Math.floor(least / 10) * 10 - 5), Math.max(100, most)] } },
    axes: [{ splits: (_, __, least, most) => roundRates(least, most), filter: (_, values) => values, values: (_, values) => values.map(bitrate) }, {}],
    series: [{}, ...lines.map(([label], n) => ({ label, stroke: colour(TINTS[n % TINTS.length]), width: 2, spanGaps: true, points: { show: true, size: 8, fill: colour(TINTS[n % TINTS.length]) } })),
      { label: t("probed"), stroke: colour("quiet"), paths: () => null, points: { show: true, size: 5 } }],
    hooks: { draw: [write] },
  };
}

// 1, 2 and 5 times powers of ten between two rates.
function roundRates(least, most) {
  const powers = Array.from({ length: 12 }, (_, n) => 10 ** n);
  return powers.flatMap((each) => [each, 2 * each, 5 * each]).filter((each) => each >= least && each <= most);
}

// A histogram of the scores of jobs: how many have which mean, and which have the lowest.
export function Distribution({ records, lowest = 5 }) {
  const scored = records.filter((each) => each.quality?.vmaf);
  const bins = useMemo(() => binned(scored.map((each) => each.quality.vmaf.mean)), [records]);
  const data = useMemo(() => [bins.map((each) => (each.from + each.to) / 2), bins.map((each) => each.n)], [bins]);
  const [shown, setShown] = useState(null);
  const options = useMemo(() => (colour) => ({
    legend: { show: false }, cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, range: () => [bins[0].from, bins.at(-1).to] }, y: { range: (_, __, most) => [0, Math.max(4, most)] } },
    axes: [{}, { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000] }],
    series: [{}, { stroke: colour("accent"), fill: `${colour("accent")}88`, paths: Plot.paths.bars({ size: [0.92, Infinity] }), points: { show: false } }],
    hooks: { setCursor: [(plot) => setShown(plot.cursor.idx ?? null)] },
  }), [bins]);
  if (!scored.length) return null;
  const worst = [...scored].sort((a, b) => a.quality.vmaf.mean - b.quality.vmaf.mean).slice(0, lowest);
  const text = ({ from, to, n }) => t("range", { from: decimal(from, 1), to: decimal(to, 1), n: count(n) });
  const title = t("distribution", { n: count(scored.length) });
  return html`
    <section class="quality"><h2>${title}</h2>
      <${Chart} label=${`${title}. ${bins.filter((each) => each.n).map(text).join("; ")}`} data=${data} options=${options} height=${180} />
      <p class="quiet readout">${shown === null ? " " : text(bins[shown])}</p>
      <h3>${t("lowest")}</h3>
      <ol class="lowest">${worst.map((each) => html`<li key=${each.jobID}><a href=${`#/watch/${each.jobID}`}>${nameOf(each.input)}</a> <span class="quiet">${shortId(each.jobID)}</span> ${decimal(each.quality.vmaf.mean, 1)}</li>`)}</ol>
    </section>`;
}

// Up to 20 bins between the lowest and the highest score, of a round width. Pure.
export function binned(scores) {
  if (!scores.length) return [];
  const [least, most] = scores.reduce(([low, high], each) => [Math.min(low, each), Math.max(high, each)], [Infinity, -Infinity]);
  const width = [0.5, 1, 2, 5, 10].find((each) => (most - least) / each <= 20) ?? 10;
  const first = Math.floor(least / width), last = Math.floor(most / width);
  const bins = Array.from({ length: last - first + 1 }, (_, n) => ({ from: (first + n) * width, to: (first + n + 1) * width, n: 0 }));
  for (const each of scores) bins[Math.floor(each / width) - first].n++;
  return bins;
}
