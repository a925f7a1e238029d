"use strict";
/* One interface over three players: rungs, audio, subtitles, thumbnails and keys of a package.

load(url), rungs(), rung(), chooseRung(id | null), audios(), chooseAudio(id), texts(), chooseText(id | null),
thumbnail(seconds), destroy(). Rungs are {id, width, height, bitrate, codecs}, tracks {id, label, chosen}; thumbnails are
{url, x, y, width, height} in pixels of the sprite. Keys are {keyId: key}, both as 32 hexadecimal digits. */

const MANIFESTS = { "hls.js": "master.m3u8", "shaka-player": "manifest.mpd", "dash.js": "manifest.mpd" };

function labelled(language, label) {
  return label && label !== language ? `${label} (${language})` : language || label || "unnamed";
}

function base64url(hex) {
  const bytes = hex.match(/../g).map((pair) => String.fromCharCode(parseInt(pair, 16))).join("");
  return btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function seconds(text) {
  return text.split(":").reduce((total, part) => total * 60 + parseFloat(part), 0);
}

/* The cues of a thumbnails file: <stem>.thumbnails.vtt beside the package's folder. */
async function thumbnailCues(url) {
  const answer = await fetch(url);
  if (!answer.ok) return [];
  return [...(await answer.text()).matchAll(/([\d:.]+) --> ([\d:.]+).*\r?\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g)].map(
    ([, start, end, file, x, y, width, height]) => ({
      start: seconds(start), end: seconds(end), url: new URL(file, url).href, x: +x, y: +y, width: +width, height: +height,
    }));
}

class HlsAdapter {
  constructor(video, keys, failed, bufferSeconds) {
    this.video = video;
    const buffer = bufferSeconds ? { maxBufferLength: bufferSeconds, maxMaxBufferLength: bufferSeconds } : {};
    this.player = new Hls(buffer);
    this.player.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      if (details.encryptedFragments.some((part) => part.decryptdata?.method === "SAMPLE-AES"))
        failed("it decrypts AES-128, and not cbcs with a plain key; choose shaka-player or dash.js");
    });
    this.player.on(Hls.Events.ERROR, (_, data) => {
      if (data.fatal) failed(`${data.details}${data.error ? `: ${data.error.message}` : ""}`);
    });
  }
  async load(url) {
    const folder = new URL(".", url).href.replace(/\/$/, "");
    this.cues = await thumbnailCues(`${folder}.thumbnails.vtt`).catch(() => []);
    await new Promise((resolve, reject) => {
      this.player.once(Hls.Events.MANIFEST_PARSED, resolve);
      this.player.on(Hls.Events.ERROR, (_, data) => data.fatal && reject(new Error(data.details)));
      this.player.loadSource(url);
      this.player.attachMedia(this.video);
    });
  }
  rungs() {
    return this.player.levels.map((level, id) =>
      ({ id, width: level.width, height: level.height, bitrate: level.bitrate, codecs: level.codecs || level.videoCodec }));
  }
  rung() { return this.player.currentLevel; }
  chooseRung(id) { this.player.loadLevel = id === null ? -1 : id; }
  audios() {
    return this.player.audioTracks.map((track, id) =>
      ({ id, language: track.lang, label: labelled(track.lang, track.name), chosen: id === this.player.audioTrack }));
  }
  chooseAudio(id) { this.player.audioTrack = id; }
  texts() {
    return this.player.subtitleTracks.map((track, id) =>
      ({ id, language: track.lang, label: labelled(track.lang, track.name), chosen: id === this.player.subtitleTrack }));
  }
  chooseText(id) { this.player.subtitleDisplay = true; this.player.subtitleTrack = id === null ? -1 : id; }
  async thumbnail(time) { return this.cues.find((cue) => cue.start <= time && time < cue.end) || null; }
  async destroy() { this.player.destroy(); }
}

class ShakaAdapter {
  constructor(video, keys, failed, bufferSeconds) {
    this.video = video;
    shaka.polyfill.installAll();
    this.player = new shaka.Player();
    this.player.configure({ drm: { clearKeys: keys } });
    if (bufferSeconds) this.player.configure({ streaming: { bufferingGoal: bufferSeconds, rebufferingGoal: 0.5 } });
    this.player.addEventListener("error", (event) => failed(ShakaAdapter.words(event.detail)));
  }
  static words(error) {
    const name = (table, code) => Object.keys(table).find((key) => table[key] === code) || code;
    const { Category, Code } = shaka.util.Error;
    return `${name(Category, error.category)} ${name(Code, error.code)}: ${(error.data || []).filter((part) => typeof part !== "object").join(" ")}`;
  }
  async load(url) {
    await this.player.attach(this.video);
    try {
      await this.player.load(url);
    } catch (error) {
      throw error.category ? new Error(ShakaAdapter.words(error)) : error;
    }
  }
  rungs() {
    const audio = this.player.getVariantTracks().find((track) => track.active)?.audioId;
    return this.player.getVariantTracks().filter((track) => track.audioId === audio).map((track) =>
      ({ id: track.id, width: track.width, height: track.height, bitrate: track.bandwidth, codecs: track.codecs }));
  }
  rung() { return this.player.getVariantTracks().find((track) => track.active)?.id; }
  chooseRung(id) {
    this.player.configure({ abr: { enabled: id === null } });
    if (id !== null) this.player.selectVariantTrack(this.player.getVariantTracks().find((track) => track.id === id));
  }
  audios() {
    return this.player.getAudioTracks().map((track, id) => ({
      id, language: track.language, label: labelled(track.language, track.label), chosen: track.active }));
  }
  chooseAudio(id) { this.player.selectAudioTrack(this.player.getAudioTracks()[id]); }
  texts() {
    return this.player.getTextTracks().map((track) =>
      ({ id: track.id, language: track.language, label: labelled(track.language, track.label), chosen: track.active }));
  }
  chooseText(id) {
    this.player.selectTextTrack(id === null ? null : this.player.getTextTracks().find((track) => track.id === id));
  }
  async thumbnail(time) {
    const track = this.player.getImageTracks()[0];
    const shown = track && (await this.player.getThumbnails(track.id, time));
    return shown ? { url: shown.uris[0], x: shown.positionX, y: shown.positionY, width: shown.width, height: shown.height } : null;
  }
  async destroy() { await this.player.destroy(); }
}

class DashAdapter {
  constructor(video, keys, failed, bufferSeconds) {
    this.video = video;
    this.player = dashjs.MediaPlayer().create();
    const buffer = bufferSeconds
      ? { buffer: { bufferTimeDefault: bufferSeconds, bufferTimeAtTopQuality: bufferSeconds, bufferTimeAtTopQualityLongForm: bufferSeconds } }
      : {};
    this.player.updateSettings({ debug: { logLevel: 1 }, streaming: { ...buffer, text: { defaultEnabled: false } } });
    this.player.initialize();
    const pairs = Object.entries(keys).map(([kid, key]) => [base64url(kid), base64url(key)]);
    if (pairs.length) this.player.setProtectionData({ "org.w3.clearkey": { clearkeys: Object.fromEntries(pairs) } });
    this.player.on("error", (event) => failed(event.error.message || String(event.error)));
  }
  async load(url) {
    await new Promise((resolve, reject) => {
      this.player.on("streamInitialized", resolve);
      this.player.on("error", (event) => reject(new Error(event.error.message || String(event.error))));
      this.player.attachView(this.video);
      this.player.attachSource(url);
    });
  }
  rungs() {
    return this.player.getRepresentationsByType("video").map((one) =>
      ({ id: one.id, width: one.width, height: one.height, bitrate: one.bandwidth, codecs: one.codecs }));
  }
  rung() { return this.player.getCurrentRepresentationForType("video")?.id; }
  chooseRung(id) {
    this.player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: id === null } } } });
    if (id !== null) this.player.setRepresentationForTypeById("video", id, false);
  }
  tracks(type) {
    const current = this.player.getCurrentTrackFor(type);
    return this.player.getTracksFor(type).map((track, id) => ({
      id, language: track.lang, label: labelled(track.lang, (track.labels || [])[0]?.text), chosen: !!current && current.index === track.index }));
  }
  audios() { return this.tracks("audio"); }
  chooseAudio(id) { this.player.setCurrentTrack(this.player.getTracksFor("audio")[id]); }
  texts() { return this.tracks("text").map((track) => ({ ...track, chosen: this.player.isTextEnabled() && track.chosen })); }
  // not enableText, which switches to another track first: of two switches at once, one may load no captions
  chooseText(id) { this.player.setTextTrack(id === null ? -1 : id); }
  thumbnail(time) {
    return new Promise((resolve) => this.player.provideThumbnail(time, (shown) =>
      resolve(shown && { url: shown.url, x: shown.x, y: shown.y, width: shown.width, height: shown.height })));
  }
  async destroy() { this.player.destroy(); }
}

const ADAPTERS = { "hls.js": HlsAdapter, "shaka-player": ShakaAdapter, "dash.js": DashAdapter };
