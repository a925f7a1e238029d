// Two videos in step: the one that is heard leads, and small changes of speed keep the other within a fraction of a frame.
import { signal } from "../../vendor/libraries.js";

const FAR_SECONDS = 0.3; // from here on a seek is less of a disturbance than a chase
const SETTLE_SECONDS = 0.4;
const MOST = 0.12; // share of the speed
const GRAIN = 0.004;
// Correction begins at one share of a frame and ends at the other, as each change of speed disturbs.
const LOOSE = 1 / 6, TIGHT = 1 / 40;
const DEFAULT_RATE = 25;
const ENOUGH = 3; // readyState HAVE_FUTURE_DATA

// Times are seconds of the output; the source, or what stands in its place, has them `start` later, or earlier where it begins
// after the output. `rate` are frames per second, null while unknown.
// `onShown()` is called for each frame that a side shows, and after a seek.
export class Pair {
  isPlaying = signal(false);
  duration = signal(0);
  // The second at which each side's frame on the screen begins.
  time = signal(0);
  shown = { source: null, output: null };
  // The side that is heard: "output", "source" or "none".
  sound = signal("output");
  speed = 1;
  onShown = () => {};
  start = 0;
  #target = null;
  #isSeeking = false;
  #isSettled = false; // after a seek, until they play
  #isHeld = false;
  #isChasing = false;
  #isOver = false;
  #aim = null;
  #heard = "output";

  constructor(output, source, start, rate) {
    this.videos = source ? { output, source } : { output };
    this.start = start;
    this.rate = signal(rate);
    for (const side of Object.keys(this.videos)) this.#follow(side);
    output.addEventListener("durationchange", () => { if (isFinite(output.duration)) this.duration.value = output.duration; });
    output.addEventListener("ended", () => this.pause());
    if (start) this.seek(0);
  }

  end() {
    this.#isOver = true;
    for (const video of this.#all) video.pause();
  }

  // Goes on with the output alone.
  dropSource() {
    this.videos = { output: this.videos.output };
    this.shown.source = null;
    this.hear("output");
    if (this.start < 0) this.seek(0); // what the source lacked, the output has
  }

  get #all() { return Object.values(this.videos); }
  get #step() { return 1 / (this.rate.value ?? DEFAULT_RATE); }
  #offset(side) { return side === "source" ? this.start : 0; }

  // Whether both sides show the same frame.
  get isMatched() {
    if (this.#isSettled) return true;
    const { source, output } = this.shown;
    return source !== null && output !== null && Math.abs(source - output) < 0.45 * this.#step;
  }

  #follow(side) {
    const video = this.videos[side];
    const shown = (_, { mediaTime }) => {
      if (this.#isOver) return;
      this.shown[side] = mediaTime - this.#offset(side);
      if (side === "output") {
        this.time.value = this.shown.output;
        if (!this.#isSeeking) this.#aim = null;
      }
      if (this.isPlaying.value) this.#correct();
      this.onShown();
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
    video.addEventListener("waiting", () => this.#wait(video));
  }

  #correct() {
    const { source, output } = this.videos;
    if (!source || this.#isSeeking || this.#isHeld || source.paused || output.paused) return;
    const ahead = output.currentTime - (source.currentTime - this.start);
    const [leader, follower, drift] = this.sound.value === "source" ? [source, output, ahead] : [output, source, -ahead];
    if (leader.playbackRate !== this.speed) leader.playbackRate = this.speed;
    if (Math.abs(drift) > FAR_SECONDS) { this.seek(this.videos.output.currentTime); return; }
    leader.preservesPitch = true;
    follower.preservesPitch = false; // it is not heard, and keeping the pitch moves it by 20 ms at each change of speed
    this.#isChasing = Math.abs(drift) > (this.#isChasing ? TIGHT : LOOSE) * this.#step;
    const wanted = this.#isChasing ? this.speed * (1 - Math.max(-MOST, Math.min(MOST, drift / SETTLE_SECONDS))) : this.speed;
    if (Math.abs(wanted - follower.playbackRate) > (this.#isChasing ? GRAIN : 0)) follower.playbackRate = wanted;
  }

  // One side has nothing to show yet: the other waits for it.
  async #wait(video) {
    if (!this.isPlaying.value || this.#isSeeking || video.ended) return;
    await this.hold(() => until(video, "canplay", () => video.readyState >= ENOUGH));
  }

  // Stops both sides while `change` runs, and brings them together again.
  async hold(change) {
    if (this.#isHeld) { await change(); return; }
    this.#isHeld = true;
    const at = this.videos.output.currentTime;
    for (const video of this.#all) video.pause();
    try {
      await change();
    } finally {
      this.#isHeld = false;
    }
    await this.seek(at);
  }

  async play() {
    const { output } = this.videos;
    if (output.ended || output.currentTime >= this.duration.value - this.#step / 2) await this.seek(0);
    this.isPlaying.value = true;
    this.#aim = null;
    if (!this.isMatched) await this.seek(output.currentTime);
    await this.#go();
  }

  async #go() {
    if (!this.isPlaying.value || this.#isSeeking || this.#isHeld || this.#isOver) return;
    this.#isSettled = false;
    // A side that is shorter stays at its end, where playing it would begin it anew.
    await Promise.allSettled(this.#all.filter((video) => !video.ended).map((video) => video.play()));
  }

  // Stops on one frame of both.
  async pause() {
    if (!this.isPlaying.value) return;
    this.isPlaying.value = false;
    for (const video of this.#all) { video.pause(); video.playbackRate = this.speed; }
    if (this.shown.output !== null) await this.seek(this.shown.output + this.#step / 2);
  }

  toggle() { return this.isPlaying.value ? this.pause() : this.play(); }

  // Moves by frames, and stops there.
  async step(frames) {
    await this.pause();
    const from = this.#aim ?? this.shown.output ?? this.videos.output.currentTime;
    await this.seek(from + (frames + 0.5) * this.#step);
  }

  // Shows the frame at a second on both sides. Of calls in quick succession the last one counts.
  async seek(seconds) {
    const last = Math.max(0, (this.duration.value || Infinity) - this.#step / 4);
    this.#target = Math.max(0, Math.min(Math.max(seconds, this.videos.source ? -this.start : 0), last));
    this.#aim = Math.max(0, this.#target - this.#step / 2);
    if (this.#isSeeking) return;
    this.#isSeeking = true;
    this.#isSettled = false;
    for (const video of this.#all) video.pause();
    while (this.#target !== null && !this.#isOver) {
      const to = this.#target;
      this.#target = null;
      await Promise.all(Object.entries(this.videos).map(([side, video]) => seeked(video, to + this.#offset(side))));
    }
    this.#isSeeking = false;
    this.#isSettled = !this.#isOver;
    this.onShown(); // under load, a frame is shown before its video is ready to be drawn
    await this.#go();
  }

  hear(side) {
    if (this.sound.value !== "none") this.#heard = this.sound.value;
    this.sound.value = side === "source" && !this.videos.source ? "output" : side;
    for (const [name, video] of Object.entries(this.videos)) video.muted = name !== this.sound.value;
  }

  toggleMute() { this.hear(this.sound.value === "none" ? this.#heard : "none"); }

  setSpeed(speed) {
    this.speed = speed;
    for (const video of this.#all) video.playbackRate = speed;
  }
}

async function seeked(video, seconds) {
  await until(video, "loadedmetadata", () => video.readyState > 0);
  if (Math.abs(video.currentTime - seconds) < 1e-4 && !video.seeking) return;
  const over = until(video, "seeked", () => false);
  video.currentTime = seconds;
  await over;
}

// Waits for an event of a video, or its failure.
export function until(video, name, isSo) {
  if (isSo() || video.error) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => { for (const each of [name, "error"]) video.removeEventListener(each, done); resolve(); };
    for (const each of [name, "error"]) video.addEventListener(each, done);
  });
}
