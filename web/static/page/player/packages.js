// Packages in a video element, by hls.js, which is loaded when the first one is opened.
import { words } from "../words.js";

const t = words({ unable: ["It has no Media Source Extensions.", "它不支持媒体源扩展（MSE）。"] });

// Opens a package. Its playlists keep their S3 URIs; the loader opens each by its link, so that none is expired. `told` gets
// { rungs: [{ level, width, height, bitrate }], rung, rates } when one of them changes, `failed` an Error. Returns { choose, end }.
export async function openPackage(video, uri, open, told, failed) {
  const { default: Hls } = await import("../../vendor/hls.min.js");
  if (!Hls.isSupported()) throw new Error(t("unable"));
  const hls = new Hls({
    enableWorker: false,
    loader: class extends Hls.DefaultConfig.loader {
      load(context, config, callbacks) {
        const onSuccess = (answer, ...rest) => callbacks.onSuccess({ ...answer, url: context.url }, ...rest);
        super.load(context, config, { ...callbacks, onSuccess });
      }
    },
    xhrSetup: async (request, address) => request.open("GET", (await open(decodeURIComponent(address))).url, true),
  });
  const state = { rungs: [], rung: -1, rates: null };
  let isRecovered = false;
  const tell = (changes) => told(Object.assign(state, changes));
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    const rungs = rungsOf(hls.levels);
    hls.currentLevel = rungs[0].level;
    tell({ rungs, rung: rungs[0].level });
  });
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => tell({ rung: level, rates: ratesOf(hls.levels[level].details) }));
  // A video that stands shows the old rung until it seeks.
  hls.on(Hls.Events.FRAG_BUFFERED, (_, { frag: { type, level, start, end } }) => {
    const at = video.currentTime;
    if (video.paused && type === "main" && level === state.rung && at >= start && at < end) video.currentTime = at;
  });
  hls.on(Hls.Events.LEVEL_UPDATED, (_, { details, level }) => { if (level === hls.currentLevel) tell({ rates: ratesOf(details) }); });
  hls.on(Hls.Events.ERROR, (_, { fatal, details, type, error }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && !isRecovered) {
      isRecovered = true;
      hls.recoverMediaError();
    } else {
      failed(error ?? new Error(details));
    }
  });
  hls.attachMedia(video);
  hls.loadSource(addressOf(uri));
  return {
    choose: (level) => { hls.currentLevel = level; tell({ rung: level }); },
    end: () => hls.destroy(),
  };
}

// A URI of S3 as an address, against which hls.js resolves others: a key may hold %, # and ?.
const addressOf = (uri) => uri.replace(/[^/]+/g, (part, at) => (at ? encodeURIComponent(part) : part));

// Each rung once, the largest first: the manifest has it with each group of sounds, of which the smallest will do.
function rungsOf(levels) {
  const rungs = new Map();
  for (const [level, { url, width, height, bitrate, averageBitrate }] of levels.entries()) {
    const rung = { level, width, height, bitrate: averageBitrate || bitrate };
    const other = rungs.get(url[0]);
    if (!other || rung.bitrate < other.bitrate) rungs.set(url[0], rung);
  }
  return [...rungs.values()].sort((a, b) => b.height - a.height || b.bitrate - a.bitrate);
}

// [{ start, end, bitrate }] of the segments of a rung, seconds and bits per second; null where the playlist has no sizes.
function ratesOf(details) {
  const sized = details?.fragments.filter((each) => each.byteRange.length === 2 && each.duration) ?? [];
  const rate = ({ start, duration, byteRange: [from, to] }) => ({ start, end: start + duration, bitrate: (8 * (to - from)) / duration });
  return sized.length ? sized.map(rate) : null;
}
