// One bar of controls for both sides, and its keys.
import { useLoaded } from "../parts.js";
import { words } from "../words.js";
import { clock } from "./films.js";
import { html, useState } from "../../vendor/libraries.js";

const t = words({
  play: ["Play", "播放"], pause: ["Pause", "暂停"], back: ["One frame back", "后退一帧"], on: ["One frame on", "前进一帧"],
  position: ["Position", "位置"], speed: ["Speed", "速度"], sound: ["Sound", "声音"], source: ["source", "源"], output: ["output", "输出"], none: ["none", "静音"],
  full: ["Full screen", "全屏"], frame: ["frame {n}", "第 {n} 帧"],
  keys: ["Keys: space plays, comma and full stop move by a frame, as the arrow keys do on the position bar, M mutes, 1 2 3 change the view, Z shows pixels 1:1, W shows the worst frame and then the next.",
    "快捷键：空格播放，, 和 . 逐帧移动，滑块上也可用方向键，M 静音，1 2 3 切换视图，Z 为 1:1 像素，W 依次跳到最差的帧。"],
});
const SPEEDS = [0.25, 0.5, 1, 2];
const SOUNDS = ["output", "source", "none"];

// `sprites` is a function of seconds, or null; `marks` are seconds that the bar shows; `stage` is a reference to what fills the screen.
// `names` are those of both sides, where they are not source and output.
export function Transport({ names, pair, sprites, marks, hasSource, stage }) {
  const [speed, setSpeed] = useState(1);
  const isPlaying = pair?.isPlaying.value;
  const sound = pair?.sound.value ?? "output";
  const full = () => (document.fullscreenElement ? document.exitFullscreen() : stage.current.requestFullscreen());
  return html`
    <div class="transport">
      <button type="button" class="play" aria-label=${isPlaying ? t("pause") : t("play")} onClick=${() => pair?.toggle()}>${isPlaying ? "❚❚" : "▶"}</button>
      <button type="button" aria-label=${t("back")} onClick=${() => pair?.step(-1)}>❘◂</button>
      <button type="button" aria-label=${t("on")} onClick=${() => pair?.step(1)}>▸❘</button>
      <${Bar} pair=${pair} sprites=${sprites} marks=${marks} />
      <${Position} pair=${pair} />
      <label>${t("speed")}<select value=${speed} onChange=${(event) => { setSpeed(Number(event.target.value)); pair?.setSpeed(Number(event.target.value)); }}>
        ${SPEEDS.map((each) => html`<option value=${each}>${each}×</option>`)}</select></label>
      <label>${t("sound")}<select value=${sound} onChange=${(event) => pair?.hear(event.target.value)}>
        ${SOUNDS.filter((each) => hasSource || each !== "source").map((each) => html`<option value=${each}>${names?.[each] ?? t(each)}</option>`)}</select></label>
      <button type="button" onClick=${full}>${t("full")}</button>
    </div>
    <p class="quiet keys">${t("keys")}</p>`;
}

function Position({ pair }) {
  if (!pair) return null;
  const seconds = pair.time.value;
  return html`<span class="position">${clock(seconds)}${pair.rate.value ? ` · ${t("frame", { n: Math.round(seconds * pair.rate.value) })}` : ""}</span>`;
}

function Bar({ pair, sprites, marks }) {
  const [preview, setPreview] = useState(null);
  const duration = pair?.duration.value || 0;
  const step = 1 / (pair?.rate.value ?? 25);
  const hover = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    setPreview({ share, seconds: share * duration });
  };
  const picture = preview && sprites?.(preview.seconds);
  return html`
    <div class="bar" onPointerMove=${hover} onPointerLeave=${() => setPreview(null)}>
      <input type="range" min="0" max=${duration} step=${step} value=${pair?.time.value ?? 0} aria-label=${t("position")} aria-valuetext=${clock(pair?.time.value ?? 0)}
        onInput=${(event) => pair?.seek(Number(event.target.value) + step / 2)} />
      ${duration > 0 && marks.map((at) => html`<span class="mark" style=${{ left: `${(100 * at) / duration}%` }}></span>`)}
      ${preview && html`<span class="preview" style=${{ left: `${100 * preview.share}%` }}>
        ${picture && html`<${Sprite} key=${picture.uri} ...${picture} />`}
        ${clock(preview.seconds, 1)}</span>`}
    </div>`;
}

function Sprite({ link, x, y, width, height }) {
  const { data } = useLoaded(link, []);
  return html`<span class="sprite" style=${{ width: `${width}px`, height: `${height}px` }}>
    ${data && html`<img src=${data.url} alt="" style=${{ marginLeft: `${-x}px`, marginTop: `${-y}px` }} />`}</span>`;
}

// Listens for keys, unless a text or a choice has the focus. Returns what ends that.
export function keyed(actions) {
  const pressed = (event) => {
    const { tagName, type } = event.target;
    const isText = ["SELECT", "TEXTAREA"].includes(tagName) || (tagName === "INPUT" && !["range", "radio"].includes(type));
    if (isText || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && ["BUTTON", "A", "SUMMARY"].includes(tagName)) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}
