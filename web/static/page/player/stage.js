// The picture of both sides: side by side, under a slider, or as their difference; as wide as the page or pixel for pixel.
import { words } from "../words.js";
import { html, useEffect, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  source: ["Source", "源"], output: ["Output", "输出"],
  split: ["Where the output begins, in percent", "输出起始位置（百分比）"],
  difference: ["Difference of both pictures", "两侧画面的差异"],
  move: ["Move the picture", "移动画面"],
});
export const MODES = ["side", "wipe", "difference"];
const GRIP = 20;
const SAME_SHAPE = 0.02;
const PAN_PIXELS = 40;
const PANS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// `sizes` are { source, output } as [width, height], null while unknown. `zoom` is 0 to fit the page, else screen pixels per
// pixel of the larger side. `names` are those of both sides, where they are not source and output. The difference is drawn on a canvas for pairs of the same frame alone, and amplified by CSS.
export function Stage({ names, pair, source, output, mode, gain, zoom, sizes, isAlone }) {
  const canvas = useRef(), holder = useRef();
  const [split, setSplit] = useState(50);
  const [centre, setCentre] = useState([0.5, 0.5]);
  const [width, height] = larger(sizes);
  useEffect(() => {
    if (!pair || mode !== "difference" || isAlone) return undefined;
    const draw = () => { if (pair.isMatched) drawDifference(canvas.current, source.current, output.current, width, height); };
    pair.onShown = draw;
    draw();
    return () => { pair.onShown = () => {}; };
  }, [pair, mode, isAlone, width, height]);
  const shape = (size) => size && Math.abs(size[0] / size[1] / (width / height) - 1) < SAME_SHAPE;
  const scale = zoom / devicePixelRatio;
  const [left, top] = [Math.round(-centre[0] * width * scale), Math.round(-centre[1] * height * scale)];
  const pixels = zoom ? { width: `${width * scale}px`, height: `${height * scale}px`, transform: `translate(${left}px, ${top}px)` } : {};
  const pan = (x, y) => setCentre(([a, b]) => [a + x / (width * scale), b + y / (height * scale)].map((each) => Math.max(0, Math.min(1, each))));
  const press = (event) => {
    const box = holder.current.getBoundingClientRect();
    const at = (each) => (100 * (each.clientX - box.left)) / box.width;
    const isGrip = mode === "wipe" && (!zoom || Math.abs(event.clientX - box.left - (split * box.width) / 100) < GRIP);
    if (event.button || isAlone || (!isGrip && !zoom)) return;
    event.preventDefault();
    let [x, y] = [event.clientX, event.clientY];
    const move = (each) => {
      if (isGrip) { setSplit(Math.max(0, Math.min(100, at(each)))); return; }
      pan(x - each.clientX, y - each.clientY);
      [x, y] = [each.clientX, each.clientY];
    };
    move(event);
    const end = new AbortController();
    addEventListener("pointermove", move, { signal: end.signal });
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => end.abort(), { signal: end.signal });
  };
  const shiftPan = (event) => {
    if (!zoom || !(event.key in PANS)) return;
    event.preventDefault();
    event.stopPropagation();
    pan(...PANS[event.key].map((each) => each * PAN_PIXELS));
  };
  const name = (side) => names?.[side] ?? t(side);
  const pane = (side, reference, style = {}) => html`
    <figure class=${`pane ${side} ${shape(sizes[side]) ? "" : "other-shape"}`} style=${style}>
      <video ref=${reference} crossorigin="anonymous" preload="auto" playsinline disableRemotePlayback style=${pixels} aria-label=${name(side)}></video>
      <figcaption>${name(side)}${sizes[side] ? ` ${sizes[side].join(" × ")}` : ""}</figcaption></figure>`;
  const isWipe = mode === "wipe" && !isAlone;
  return html`
    <div class=${`stage ${isAlone ? "alone" : mode} ${zoom ? "zoomed" : ""}`} ref=${holder} onPointerDown=${press} onKeyDown=${shiftPan}
      ...${zoom ? { tabindex: 0, role: "group", "aria-label": t("move") } : {}} style=${{ "--shape": `${width} / ${height}` }}>
      ${pane("source", source)}${pane("output", output, isWipe ? { clipPath: `inset(0 0 0 ${split}%)` } : {})}
      <figure class="pane sum" hidden=${mode !== "difference" || isAlone}>
        <canvas ref=${canvas} role="img" aria-label=${t("difference")} style=${{ ...pixels, filter: `brightness(${gain})` }}></canvas></figure>
      ${isWipe && html`<div class="wipe-line" style=${{ left: `${split}%` }}></div>
        <input type="range" class="wipe-range" min="0" max="100" step="0.5" value=${split} aria-label=${t("split")}
          onInput=${(event) => setSplit(Number(event.target.value))} />`}
    </div>`;
}

function larger({ source, output }) {
  const known = [source, output].filter(Boolean);
  return known.length ? known.reduce((a, b) => (b[0] * b[1] > a[0] * a[1] ? b : a)) : [16, 9];
}

function drawDifference(canvas, source, output, width, height) {
  if (!canvas || !source || source.readyState < 2 || output.readyState < 2) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "copy";
  context.drawImage(source, 0, 0, width, height);
  context.globalCompositeOperation = "difference";
  context.drawImage(output, 0, 0, width, height);
}
