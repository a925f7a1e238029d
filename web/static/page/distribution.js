// The scores of many jobs: how many have which mean, and which have the lowest.
import { Chart } from "./parts.js";
import { count, decimal, nameOf, shortId } from "./format.js";
import { words } from "./words.js";
import { Plot, html, useMemo, useState } from "../vendor/libraries.js";

const t = words({
  distribution: ["Scores of {n} jobs", "{n} 个任务的分数分布"], lowest: ["The lowest", "分数最低"],
  range: ["VMAF {from} to {to}: {n} jobs", "VMAF {from} 至 {to}：{n} 个任务"],
});
const WIDTHS = [0.5, 1, 2, 5, 10];
const MOST_BINS = 20;
const COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];

// `records` are of jobs; those without a score do not count. Shows nothing where none has one.
export function Distribution({ records, lowest = 5 }) {
  const scored = useMemo(() => records.filter((each) => each.quality?.vmaf), [records]);
  const bins = useMemo(() => binned(scored.map((each) => each.quality.vmaf.mean)), [scored]);
  const data = useMemo(() => [bins.map((each) => (each.from + each.to) / 2), bins.map((each) => each.jobs)], [bins]);
  const [shown, setShown] = useState(null);
  const options = useMemo(() => (colour) => ({
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, range: () => [bins[0].from, bins.at(-1).to] }, y: { range: (_, __, most) => [0, Math.max(4, most)] } },
    axes: [{}, { incrs: COUNTS }],
    series: [{}, { stroke: colour("accent"), fill: `${colour("accent")}88`, paths: Plot.paths.bars({ size: [0.92, Infinity] }), points: { show: false } }],
    hooks: { setCursor: [(plot) => setShown(plot.cursor.idx ?? null)] },
  }), [bins]);
  if (!scored.length) return null;
  const worst = [...scored].sort((a, b) => a.quality.vmaf.mean - b.quality.vmaf.mean).slice(0, lowest);
  const text = ({ from, to, jobs }) => t("range", { from: decimal(from, 1), to: decimal(to, 1), n: count(jobs) });
  const title = t("distribution", { n: count(scored.length) });
  const label = `${title}. ${bins.filter((each) => each.jobs).map(text).join("; ")}`;
  return html`
    <section class="quality"><h2>${title}</h2>
      <${Chart} label=${label} data=${data} options=${options} height=${180} />
      <p class="quiet readout">${bins[shown] ? text(bins[shown]) : ""}</p>
      <h3>${t("lowest")}</h3>
      <ol class="lowest">${worst.map((each) => html`
        <li key=${each.jobID}><a href=${`#/watch/${each.jobID}`}>${nameOf(each.input)}</a> <span class="quiet">${shortId(each.jobID)}</span>
          ${" "}${decimal(each.quality.vmaf.mean, 1)}</li>`)}</ol>
    </section>`;
}

// At most 21 bins { from, to, jobs } from the lowest to the highest score, of a round width. Pure.
function binned(scores) {
  if (!scores.length) return [];
  const [least, most] = scores.reduce(([low, high], each) => [Math.min(low, each), Math.max(high, each)], [Infinity, -Infinity]);
  const width = WIDTHS.find((each) => (most - least) / each <= MOST_BINS) ?? WIDTHS.at(-1);
  const first = Math.floor(least / width), last = Math.floor(most / width);
  const bins = Array.from({ length: last - first + 1 }, (_, n) => ({ from: (first + n) * width, to: (first + n + 1) * width, jobs: 0 }));
  for (const each of scores) bins[Math.floor(each / width) - first].jobs++;
  return bins;
}
