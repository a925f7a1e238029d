"use strict";
/* Measures what a player shows: frames by their pattern, stalls, and every fragment that it appends.

A frame of the test clip is 4 x 4 blocks, black or white: the bits of its number, least significant first. */

const probe = { fragments: [], waits: [], starved: [], jumps: [], frames: 0, wrong: [], widths: {}, inits: new WeakMap(), kinds: new WeakMap() };
window.probe = probe;
const buffers = [], errors = [];

function* boxes(view, from, to) {
  while (from + 8 <= to) {
    let size = view.getUint32(from), head = 8;
    const type = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + from + 4, 4));
    if (size === 1) { size = Number(view.getBigUint64(from + 8)); head = 16; }
    if (size < 8 || from + size > to) return;
    yield { type, start: from + head, end: from + size };
    from += size;
  }
}

function find(view, from, to, ...path) {
  for (const box of boxes(view, from, to)) {
    if (box.type === path[0]) return path.length === 1 ? box : find(view, box.start, box.end, ...path.slice(1));
  }
  return null;
}

function note(buffer, data) {
  const view = ArrayBuffer.isView(data) ? new DataView(data.buffer, data.byteOffset, data.byteLength) : new DataView(data);
  for (const box of boxes(view, 0, view.byteLength)) {
    if (box.type === "moov") {
      const header = find(view, box.start, box.end, "trak", "mdia", "mdhd");
      const extend = find(view, box.start, box.end, "mvex", "trex");
      const version = view.getUint8(header.start);
      probe.inits.set(buffer, { scale: view.getUint32(header.start + (version ? 20 : 12)), duration: extend ? view.getUint32(extend.start + 12) : 0 });
    } else if (box.type === "moof") {
      const init = probe.inits.get(buffer);
      const traf = find(view, box.start, box.end, "traf");
      const header = find(view, traf.start, traf.end, "tfhd"), time = find(view, traf.start, traf.end, "tfdt");
      let flags = view.getUint32(header.start) & 0xffffff, at = header.start + 8;
      if (flags & 1) at += 8;
      if (flags & 2) at += 4;
      const usual = flags & 8 ? view.getUint32(at) : init.duration;
      const start = view.getUint8(time.start) ? Number(view.getBigUint64(time.start + 4)) : view.getUint32(time.start + 4);
      let length = 0;
      for (const run of boxes(view, traf.start, traf.end)) {
        if (run.type !== "trun") continue;
        flags = view.getUint32(run.start) & 0xffffff;
        const count = view.getUint32(run.start + 4);
        at = run.start + 8 + (flags & 1 ? 4 : 0) + (flags & 4 ? 4 : 0);
        const step = [0x100, 0x200, 0x400, 0x800].filter((flag) => flags & flag).length * 4;
        for (let n = 0; n < count; n++) length += flags & 0x100 ? view.getUint32(at + n * step) : usual;
      }
      probe.fragments.push({ kind: probe.kinds.get(buffer), start: start / init.scale + buffer.timestampOffset, end: (start + length) / init.scale + buffer.timestampOffset });
    }
  }
}

const { addSourceBuffer } = MediaSource.prototype, { appendBuffer } = SourceBuffer.prototype;
MediaSource.prototype.addSourceBuffer = function (type) {
  const buffer = addSourceBuffer.call(this, type);
  probe.kinds.set(buffer, type.split("/")[0]);
  buffers.push(buffer);
  return buffer;
};
SourceBuffer.prototype.appendBuffer = function (data) {
  note(this, data);
  return appendBuffer.call(this, data);
};

/* The largest distance in seconds between the end of an appended fragment and the start of the next one in time. */
probe.gap = (kind) => {
  const ends = new Map(probe.fragments.filter((one) => one.kind === kind).map((one) => [Math.round(one.start * 1e6), one]));
  const sorted = [...ends.values()].sort((a, b) => a.start - b.start);
  const gaps = sorted.slice(1).map((one, n) => Math.abs(one.start - sorted[n].end));
  return { fragments: sorted.length, gap: Math.max(0, ...gaps) };
};

const canvas = new OffscreenCanvas(160, 90);
const paper = canvas.getContext("2d", { willReadFrequently: true });

function number() {
  const { data } = paper.getImageData(0, 0, 160, 90);
  let bits = 0;
  for (let bit = 0; bit < 16; bit++) {
    const x = 20 + 40 * (bit % 4), y = Math.floor(11.25 + 22.5 * Math.floor(bit / 4));
    if (data[4 * (y * 160 + x)] > 127) bits |= 1 << bit;
  }
  return bits;
}

/* The frame that is shown now: its number, its time in seconds and its width. One VideoFrame gives pixels and time of one moment. */
probe.shown = () => {
  const video = document.getElementById("video");
  if (video.readyState < 2) return null;
  let frame;
  try {
    frame = new VideoFrame(video);
  } catch (error) {  // a page cannot read the frames that the browser decrypts
    return { hidden: true, time: video.currentTime, width: video.videoWidth, display: video.videoWidth };
  }
  paper.drawImage(frame, 0, 0, 160, 90);
  const result = { number: number(), time: frame.timestamp / 1e6, width: frame.codedWidth, display: frame.displayWidth };
  frame.close();
  return result;
};

/* The number in a thumbnail. */
probe.pictured = async ({ url, x, y, width, height }) => {
  const sheet = await createImageBitmap(await (await fetch(url)).blob());
  paper.drawImage(sheet, x, y, width, height, 0, 0, 160, 90);
  return number();
};

/* Check each frame from now on, and note the player's stalls and jumps. `starved` are the stalls without anything to play,
   which a machine that is too busy to decode does not cause. */
probe.watch = (rate) => {
  const video = document.getElementById("video");
  video.addEventListener("waiting", () => {
    const { currentTime, buffered } = video;
    probe.waits.push(currentTime);
    const ahead = Array.from({ length: buffered.length }, (_, n) => buffered.start(n) <= currentTime + 0.1 ? buffered.end(n) - currentTime : 0);
    if (Math.max(0, ...ahead) < 0.2) probe.starved.push(currentTime);
  });
  video.addEventListener("seeking", () => probe.jumps.push(video.currentTime));
  const each = () => {
    const shown = probe.shown();
    if (shown) {
      probe.frames += 1;
      probe.widths[shown.display] = (probe.widths[shown.display] || 0) + 1;
      if (!shown.hidden && Math.abs(shown.number - shown.time * rate) > 0.03) probe.wrong.push(shown);
    }
    if (!probe.stopped) video.requestVideoFrameCallback(each);
  };
  video.requestVideoFrameCallback(each);
};

/* Keep the errors of a player from now on, also those that it goes on after. */
probe.listen = (player) => {
  const at = performance.now();
  const keep = (error) => errors.push({ after: Math.round(performance.now() - at) / 1000, time: document.getElementById("video").currentTime, ...error });
  if (player.loadSource) player.on("hlsError", (_, { details, fatal, reason, error, frag, response }) =>
    keep({ details, fatal, reason: reason || error?.message, frag: frag && `${frag.type} ${frag.sn}`, status: response?.code }));
  else if (player.addEventListener) player.addEventListener("error", ({ detail }) => keep({ code: detail?.code, data: String(detail?.data) }));
  else player.on("error", ({ error }) => keep({ message: error?.message || String(error) }));
};

/* What the page and the player are at, for whoever reads why a wait ended in vain. */
probe.state = () => {
  const video = document.getElementById("video");
  const ranges = (some) => Array.from({ length: some.length }, (_, n) => [some.start(n), some.end(n)]);
  const appended = (buffer) => {
    try { return [probe.kinds.get(buffer), buffer.updating ? "updating" : "idle", ...ranges(buffer.buffered)]; } catch (error) { return [probe.kinds.get(buffer), "removed"]; }
  };
  const described = ({ details }) => details && {
    live: details.live, segments: details.fragments.length, ends: details.edge, read: `${details.age.toFixed(1)} s ago`, misses: details.misses };
  const player = typeof playing === "undefined" ? null : playing?.player;
  const { currentTime, duration, readyState, networkState, paused, seeking, ended } = video;
  return {
    page: { currentTime, duration, readyState, networkState, paused, seeking, ended, error: video.error?.message, hidden: document.hidden },
    buffered: ranges(video.buffered), buffers: buffers.map(appended), waits: probe.waits.slice(-5), jumps: probe.jumps.slice(-5),
    errors: errors.slice(-5), levels: player?.levels?.map(described), tracks: player?.audioTracks?.map(described),
    picture: probe.shown(),
  };
};

/* Texts of the cues that the page shows now. */
probe.cues = () => {
  const video = document.getElementById("video");
  return [...video.textTracks].filter((track) => track.mode === "showing")
    .flatMap((track) => [...(track.activeCues || [])].map((cue) => cue.text));
};

/* The frequency in Hz that the audio is loudest at, from the page's first call on through one analyser. */
probe.pitch = () => {
  if (!probe.analyser) {
    const context = new AudioContext();
    probe.analyser = new AnalyserNode(context, { fftSize: 4096, smoothingTimeConstant: 0 });
    context.createMediaElementSource(document.getElementById("video")).connect(probe.analyser);
  }
  const levels = new Float32Array(probe.analyser.frequencyBinCount);
  probe.analyser.getFloatFrequencyData(levels);
  const loudest = levels.indexOf(Math.max(...levels));
  return levels[loudest] > -60 ? (loudest * probe.analyser.context.sampleRate) / 4096 : 0;
};
