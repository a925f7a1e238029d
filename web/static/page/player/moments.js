// The worst moments of a film as pictures of both sides, which a hidden player draws.
import { decimal } from "../format.js";
import { words } from "../words.js";
import { until } from "./pair.js";
import { clock, filmsOf } from "./films.js";
import { middleOf } from "./report.js";
import { html, useEffect, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  moments: ["The worst moments", "最差的时刻"],
  moment: ["Frame {frame} at {at}: VMAF {score}", "第 {frame} 帧，{at}：VMAF {score}"],
  source: ["source", "源"], output: ["output", "输出"],
  picture: ["{side}, frame {frame}", "{side}，第 {frame} 帧"],
  hidden: ["The browser cannot show the {side}.", "浏览器无法显示{side}。"],
});
const WIDTH = 480;

export function Moments({ record, open, report, places, seek }) {
  const holder = useRef();
  const [hidden, setHidden] = useState([]);
  useEffect(() => {
    let isOver = false;
    const { source, versions, start } = filmsOf(record);
    const sides = { source: [source, start], output: [versions.find((each) => !each.isPackage)?.uri, 0] };
    for (const [side, [uri, offset]] of Object.entries(sides)) {
      if (!uri) continue;
      draw(open, uri, places.map((place) => middleOf(report, place) + offset), holder.current.querySelectorAll(`canvas.${side}`), () => isOver)
        .catch((error) => { console.warn(error); if (!isOver) setHidden((before) => [...before, side]); });
    }
    return () => { isOver = true; };
  }, [report]);
  const shown = ["source", "output"].filter((side) => !hidden.includes(side));
  return html`
    <h3>${t("moments")}</h3>
    ${hidden.map((side) => html`<p class="quiet">${t("hidden", { side: t(side) })}</p>`)}
    <ol class="moments" ref=${holder}>${places.map((place) => {
      const frame = report.numbers[place];
      return html`<li key=${frame}>
        <button type="button" class="plain" onClick=${() => seek(middleOf(report, place))}>
          <span class="pictures-of-both">${["source", "output"].map((side) => html`<span hidden=${!shown.includes(side)}>
            <canvas class=${side} width="16" height="9" role="img" aria-label=${t("picture", { side: t(side), frame })}></canvas>${t(side)}</span>`)}</span>
          ${t("moment", { frame, at: clock(report.seconds[place]), score: decimal(report.metrics.vmaf[place], 2) })}</button></li>`;
    })}</ol>`;
}

// Draws the frames at some seconds of a file into canvases, one after the other.
async function draw(open, uri, seconds, canvases, isOver) {
  const video = Object.assign(document.createElement("video"), { crossOrigin: "anonymous", muted: true, preload: "auto" });
  try {
    video.src = (await open(uri)).url;
    await until(video, "loadeddata", () => false);
    if (!video.videoWidth) throw video.error ?? new Error("no picture");
    for (const [n, at] of seconds.entries()) {
      if (isOver()) return;
      const over = until(video, "seeked", () => false);
      video.currentTime = at;
      await over;
      const canvas = canvases[n];
      canvas.width = Math.min(WIDTH, video.videoWidth);
      canvas.height = Math.round((canvas.width * video.videoHeight) / video.videoWidth);
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    }
  } finally {
    video.removeAttribute("src");
    video.load();
  }
}
