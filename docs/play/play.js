"use strict";
/* The page: plays the package of the form's address, and shows its rungs, tracks and thumbnails. */

const at = (id) => document.getElementById(id);
const video = at("video");
let playing = null;

function failed(reason) {
  at("error").textContent = `${at("player").value} cannot play this package: ${reason}. ${advice(reason)}`;
}

function advice(reason) {
  if (/manifestLoadError|HTTP_ERROR|BAD_HTTP|not available|download/i.test(reason))
    return "Check the address, and that its server allows this page by CORS (Access-Control-Allow-Origin).";
  if (/key|drm|license|encrypt/i.test(reason)) return "Check the key ID and the key.";
  if (/codec|incompatible|support/i.test(reason)) return "This browser may lack a decoder for the package's codec.";
  return "";
}

/* The package's manifest for a player, so that either address works with all of them. */
function manifestFor(url, name) {
  const format = MANIFESTS[name];
  return url.replace(/(master\.m3u8|manifest\.mpd)(?=$|\?)/, (file) => (name === "shaka-player" ? file : format));
}

async function play(url, name, keys = {}, bufferSeconds = 0) {
  at("error").textContent = "";
  if (playing) await playing.destroy();
  playing = null;
  const adapter = new ADAPTERS[name](video, keys, failed, bufferSeconds);
  try {
    await adapter.load(manifestFor(new URL(url, location.href).href, name));
  } catch (error) {
    failed(error.message);
    await adapter.destroy();
    return;
  }
  playing = adapter;
  refresh();
  video.play().catch((error) => ["NotAllowedError", "AbortError"].includes(error.name) || failed(error.message));
}

function row(rung, current) {
  const line = document.createElement("tr");
  line.className = rung.id === current ? "now" : "";
  for (const text of [rung.id === current ? "▶" : "", `${rung.width}x${rung.height}`, Math.round(rung.bitrate / 1000), rung.codecs])
    line.insertCell().textContent = text;
  const button = document.createElement("button");
  button.textContent = "hold";
  button.onclick = () => playing.chooseRung(rung.id);
  line.insertCell().append(button);
  return line;
}

function fill(select, tracks, none) {
  const options = tracks.map((track) => new Option(track.label, track.id, track.chosen, track.chosen));
  if (none) options.unshift(new Option(none, "", false, !tracks.some((track) => track.chosen)));
  if (options.map((one) => one.text + one.selected).join() !== [...select.options].map((one) => one.text + one.selected).join())
    select.replaceChildren(...options);
}

function refresh() {
  if (!playing) return;
  const current = playing.rung();
  const rungs = playing.rungs().sort((a, b) => b.bitrate - a.bitrate);
  const state = JSON.stringify([rungs, current]);
  if (at("rungs").dataset.state !== state) {
    at("rungs").dataset.state = state;
    const automatic = document.createElement("button");
    automatic.textContent = "automatic";
    automatic.onclick = () => playing.chooseRung(null);
    const last = document.createElement("tr");
    last.insertCell().colSpan = 4;
    last.insertCell().append(automatic);
    at("rungs").replaceChildren(...rungs.map((rung) => row(rung, current)), last);
  }
  fill(at("audio"), playing.audios());
  fill(at("text"), playing.texts(), "off");
  at("seek").max = video.duration || 0;
  if (!at("seek").matches(":active")) at("seek").value = video.currentTime;
}

function chosen(tracks, value) {
  return tracks.find((track) => String(track.id) === value)?.id ?? null;
}

async function preview(event) {
  const box = at("seek").getBoundingClientRect();
  const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  const shown = playing && (await playing.thumbnail(part * (video.duration || 0)).catch(() => null));
  const thumbnail = at("thumbnail");
  thumbnail.hidden = !shown;
  if (!shown) return;
  Object.assign(thumbnail.style, {
    left: `${Math.min(box.width - shown.width, Math.max(0, part * box.width - shown.width / 2))}px`,
    width: `${shown.width}px`, height: `${shown.height}px`,
    backgroundImage: `url("${shown.url}")`, backgroundPosition: `-${shown.x}px -${shown.y}px`,
  });
}

at("open").addEventListener("submit", (event) => {
  event.preventDefault();
  const [keyId, key] = [at("key-id").value.toLowerCase(), at("key").value.toLowerCase()];
  play(at("url").value, at("player").value, keyId && key ? { [keyId]: key } : {});
});
at("audio").addEventListener("change", () => playing.chooseAudio(chosen(playing.audios(), at("audio").value)));
at("text").addEventListener("change", () => playing.chooseText(chosen(playing.texts(), at("text").value)));
at("seek").addEventListener("input", () => { video.currentTime = at("seek").value; });
at("seek").addEventListener("pointermove", preview);
at("seek").addEventListener("pointerleave", () => { at("thumbnail").hidden = true; });
for (const name of ["timeupdate", "loadedmetadata", "resize", "progress"]) video.addEventListener(name, refresh);
video.addEventListener("error", () => failed(video.error.message || "the browser reports a media error"));
const asked = new URLSearchParams(location.search);
if (asked.get("player") in ADAPTERS) at("player").value = asked.get("player");
if (asked.get("url")) at("url").value = asked.get("url");
