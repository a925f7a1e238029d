// Plots over the time of a film: scores of frames with the bitrate, or the bitrate alone.
import { Chart } from "./parts.js";
import { bitrate, count, decimal } from "./format.js";
import { clock } from "./player/films.js";
import { columnsOf, middleOf, worstOf } from "./player/report.js";
import { words } from "./words.js";
import { Plot, html, useMemo, useRef, useState } from "../vendor/libraries.js";

const t = words({
  chart: ["VMAF of {n} frames; the lowest is {low} at {at}", "{n} 帧的 VMAF；最低 {low}，位于 {at}"],
  hint: ["Move over the chart for a frame's score; click to watch it.", "在图上移动查看单帧分数，点击观看该帧。"],
  point: ["frame {frame} · {at} · {scores}", "第 {frame} 帧 · {at} · {scores}"],
  score: ["{name}", "{name}"], low: ["{name}, lowest", "{name} 最低"], average: ["{name}, mean", "{name} 平均"], time: ["Time", "时间"], bits: ["Bitrate", "码率"],
  rates: ["Bitrate over time", "码率随时间变化"],
  rateChart: ["Bitrate over time; the highest is {most} at {at}", "码率随时间变化；最高 {most}，位于 {at}"],
});
export const METRICS = { vmaf: "VMAF", psnr: "PSNR", ssim: "SSIM", float_ms_ssim: "MS-SSIM" };
const PLACES = { vmaf: 2, psnr: 2, ssim: 4, float_ms_ssim: 4 };
const COLUMNS = 1000;
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const GOOD_SCORE = 80;
const CURSOR = { y: false, drag: { x: false, y: false } };

export function Scores({ report, metric, seek, position, rates }) {
  const columns = useMemo(() => columnsOf(report, metric, COLUMNS), [report, metric]);
  const [point, setPoint] = useState(null);
  const seeking = useLatest(seek);
  const isThinned = columns.places.length < report.numbers.length;
  const hasRates = Boolean(rates);
  const data = useMemo(() => {
    const times = columns.places.map((place) => report.seconds[place]);
    const rateAt = (at) => rates.find((each) => at >= each.start && at < each.end)?.bitrate ?? null;
    return [times, columns.lows, ...(isThinned ? [columns.means] : []), ...(rates ? [times.map(rateAt)] : [])];
  }, [columns, rates]);
  const options = useMemo(() => scorePlot({
    metric, isThinned, hasRates,
    onPoint: (index) => setPoint(index == null ? null : columns.places[index]),
    onClick: (index) => seeking.current(middleOf(report, columns.places[index])),
  }), [columns, hasRates]);
  const worst = useMemo(() => worstOf(report)[0], [report]);
  const label = t("chart", { n: count(report.numbers.length), low: decimal(report.metrics.vmaf[worst], 1), at: clock(report.seconds[worst], 1) });
  return html`
    <div class="scores"><${Chart} label=${label} data=${data} options=${options} height=${220} onPlot=${(plot) => followed(plot, position)} /></div>
    <p class="quiet readout">${point === null ? t("hint") : described(report, point)}</p>`;
}

function described({ numbers, seconds, metrics }, place) {
  const scores = Object.entries(metrics).map(([name, values]) => `${METRICS[name]} ${decimal(values[place], PLACES[name])}`);
  return t("point", { frame: count(numbers[place]), at: clock(seconds[place]), scores: scores.join(", ") });
}

const scorePlot = ({ metric, isThinned, hasRates, onPoint, onClick }) => (colour) => {
  const name = METRICS[metric];
  const line = (label, tint, width = 1.5) => ({ label, stroke: colour(tint), width, points: { show: false } });
  const range = (_, least, most) => (metric === "vmaf" ? [Math.max(0, Math.min(least - 2, GOOD_SCORE)), Math.max(100, most)] : [least, most]);
  return {
    legend: { show: isThinned || hasRates, live: false },
    cursor: CURSOR,
    scales: { x: { time: false }, y: { range }, bits: { range: (_, __, most) => [0, 1.3 * (most || 1)] } },
    axes: [timeAxis, {}, ...(hasRates ? [{ ...rateAxis, scale: "bits", side: 1, grid: { show: false } }] : [])],
    series: [
      { label: t("time") },
      line(t(isThinned ? "low" : "score", { name }), "accent"),
      ...(isThinned ? [line(t("average", { name }), "good")] : []),
      ...(hasRates ? [{ ...line(t("bits"), "quiet", 1), scale: "bits", fill: `${colour("quiet")}22` }] : []),
    ],
    hooks: {
      setCursor: [(plot) => onPoint(plot.cursor.idx)],
      ready: [(plot) => plot.over.addEventListener("click", () => plot.cursor.idx != null && onClick(plot.cursor.idx))],
    },
  };
};

// The bitrate over time of what plays, where no frame has a score. `rates` are [{ start, end, bitrate }], at least one.
export function Rates({ rates, seek, position }) {
  const data = useMemo(() => {
    const last = rates.at(-1);
    return [[...rates.map((each) => each.start), last.end], [...rates.map((each) => each.bitrate), last.bitrate]];
  }, [rates]);
  const seeking = useLatest(seek);
  const options = useMemo(() => (colour) => ({
    legend: { show: false },
    cursor: CURSOR,
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, 1.1 * most] } },
    axes: [timeAxis, rateAxis],
    series: [{}, { stroke: colour("accent"), fill: `${colour("accent")}22`, paths: Plot.paths.stepped({ align: 1 }), points: { show: false } }],
    hooks: { ready: [(plot) => plot.over.addEventListener("click", () => seeking.current(plot.posToVal(plot.cursor.left, "x")))] },
  }), []);
  const most = rates.reduce((a, b) => (b.bitrate > a.bitrate ? b : a));
  const label = t("rateChart", { most: bitrate(most.bitrate), at: clock(most.start, 1) });
  return html`<h3>${t("rates")}</h3>
    <div class="scores"><${Chart} label=${label} data=${data} options=${options} height=${160} onPlot=${(plot) => followed(plot, position)} /></div>`;
}

const timeAxis = {
  incrs: TICKS,
  values: (_, values) => {
    const places = values.some((each) => each % 1) ? 1 : 0;
    return values.map((each) => clock(each, places));
  },
};
const rateAxis = { size: 90, values: (_, values) => values.map(bitrate) };

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
  const place = () => { line.style.left = `${plot.valToPos(position.value, "x")}px`; };
  plot.hooks.destroy = [...(plot.hooks.destroy ?? []), position.subscribe(place)];
  plot.hooks.setSize = [...(plot.hooks.setSize ?? []), place];
}
