// The rungs of a package with their scores by bitrate: a line for each codec, and beside it what probes of the title showed.
import { Chart } from "./parts.js";
import { bitrate, decimal } from "./format.js";
import { words } from "./words.js";
import { html, useMemo } from "../vendor/libraries.js";

const t = words({
  curve: ["Quality by bitrate", "质量与码率曲线"], rung: ["Rung", "档位"], codec: ["Codec", "编码"], bits: ["Bitrate", "码率"],
  mean: ["VMAF, mean", "VMAF 平均"], p5: ["5th percentile", "第 5 百分位"], probed: ["probed", "试编码"],
});
const TINTS = ["accent", "good", "warn", "bad"];
const GAP_PIXELS = 14;

export function Curve({ record }) {
  const rungs = (record.outputs ?? []).filter((each) => each.role === "rendition" && each.vmaf && each.bitrate);
  const { lines, data } = useMemo(() => plotted(rungs, record.ladder?.points ?? []), [record]);
  const options = useMemo(() => curvePlot(lines), [lines]);
  if (!rungs.length) return null;
  const heads = ["rung", "codec", "bits", "mean", "p5"].map((name, n) => html`<th scope="col" class=${n > 1 ? "number" : ""}>${t(name)}</th>`);
  const cells = (each) => [`${each.width} × ${each.height}`, each.codecs, bitrate(each.bitrate), decimal(each.vmaf.mean, 2), decimal(each.vmaf.p5, 2)];
  const label = `${t("curve")}: ${rungs.map((each) => `${bitrate(each.bitrate)} ${decimal(each.vmaf.mean, 1)}`).join(", ")}`;
  return html`<h3>${t("curve")}</h3>
    <${Chart} label=${label} data=${data} options=${options} height=${240} />
    <table><thead><tr>${heads}</tr></thead>
      <tbody>${rungs.map((rung) => html`<tr key=${rung.uri}>${cells(rung).map((cell, n) => html`<td class=${n > 1 ? "number" : ""}>${cell}</td>`)}</tr>`)}</tbody></table>`;
}

// The lines as [name, [{ x, y, label }]], and the plot's data: each line over all bitrates, and the probes after them.
function plotted(rungs, points) {
  const named = new Map();
  for (const each of rungs) {
    const codec = (each.codecs ?? each.videoCodec ?? "").split(".")[0];
    const name = each.dynamicRange && each.dynamicRange !== "sdr" ? `${codec} ${each.dynamicRange}` : codec;
    named.set(name, [...(named.get(name) ?? []), { x: each.bitrate, y: each.vmaf.mean, label: `${Math.min(each.width, each.height)}p` }]);
  }
  const lines = [...named];
  const xs = [...new Set([...rungs, ...points].map((each) => each.bitrate))].sort((a, b) => a - b);
  const placed = (some) => {
    const known = new Map(some.map(({ x, y }) => [x, y]));
    return xs.map((x) => known.get(x) ?? null);
  };
  const probes = points.map((each) => ({ x: each.bitrate, y: each.vmaf }));
  return { lines, data: [xs, ...lines.map(([, some]) => placed(some)), placed(probes)] };
}

const curvePlot = (lines) => (colour) => {
  const write = ({ ctx, valToPos }) => {
    ctx.save();
    ctx.fillStyle = colour("text");
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    for (const { x, y, label } of lines.flatMap(([, some]) => some)) ctx.fillText(label, valToPos(x, "x", true) + 8, valToPos(y, "y", true) + GAP_PIXELS * devicePixelRatio);
    ctx.restore();
  };
  const line = ([label], n) => {
    const tint = colour(TINTS[n % TINTS.length]);
    return { label, stroke: tint, width: 2, spanGaps: true, points: { show: true, size: 8, fill: tint } };
  };
  return {
    legend: { show: lines.length > 1, live: false },
    cursor: { show: false },
    scales: {
      x: { time: false, distr: 3, range: (_, least, most) => [least / 1.3, most * 1.5] },
      y: { range: (_, least, most) => [Math.max(0, Math.floor(least / 10) * 10 - 5), Math.max(100, most)] },
    },
    axes: [{ splits: (_, __, least, most) => roundRates(least, most), filter: (_, values) => values, values: (_, values) => values.map(bitrate) }, {}],
    series: [{}, ...lines.map(line), { label: t("probed"), stroke: colour("quiet"), paths: () => null, points: { show: true, size: 5 } }],
    hooks: { draw: [write] },
  };
};

// 1, 2 and 5 times powers of ten between two rates.
function roundRates(least, most) {
  const powers = Array.from({ length: 12 }, (_, n) => 10 ** n);
  return powers.flatMap((each) => [each, 2 * each, 5 * each]).filter((each) => each >= least && each <= most);
}
