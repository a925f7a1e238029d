// Packages in a video element, by hls.js, which is loaded when the first one is opened.

// Opens a package. Its playlists keep their S3 URIs; the loader opens each by its link, so that none is expired. `told` gets
// { rungs: [{ label, height, bitrate }], rung, bitrates } when one of them changes, `failed` an Error. Returns { choose, end }.
export async function openPackage(video, uri, open, told, failed) {
  const { default: Hls } = await import("../../vendor/hls.min.js");
  if (!Hls.isSupported()) throw new Error("Media Source Extensions are missing.");
  const hls = new Hls({
    enableWorker: false,
    loader: class extends Hls.DefaultConfig.loader {
      load(context, config, callbacks) {
        const onSuccess = (answer, ...rest) => callbacks.onSuccess({ ...answer, url: context.url }, ...rest);
        super.load(context, config, { ...callbacks, onSuccess });
      }
    },
    xhrSetup: async (request, address) => request.open("GET", (await open(decodeURI(address))).url, true),
  });
  const state = { rungs: [], rung: -1, bitrates: null };
  const tell = (changes) => told(Object.assign(state, changes));
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    const rungs = hls.levels.map(({ height, width, bitrate, averageBitrate, codecSet }, level) => ({ level, height, width, bitrate: averageBitrate || bitrate, codec: codecSet }));
    rungs.sort((a, b) => b.height - a.height || b.bitrate - a.bitrate);
    hls.currentLevel = rungs[0].level;
    tell({ rungs, rung: rungs[0].level });
  });
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => tell({ rung: level, bitrates: bitrates(hls.levels[level].details) }));
  hls.on(Hls.Events.LEVEL_UPDATED, (_, { details, level }) => { if (level === hls.currentLevel) tell({ bitrates: bitrates(details) }); });
  hls.on(Hls.Events.ERROR, (_, { fatal, details, type, error }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && details !== "manifestIncompatibleCodecsError" && !state.isRecovered) { state.isRecovered = true; hls.recoverMediaError(); return; }
    failed(error ?? new Error(details));
  });
  hls.attachMedia(video);
  hls.loadSource(uri);
  return {
    choose: (level) => { hls.currentLevel = level; tell({ rung: level }); },
    end: () => hls.destroy(),
  };
}

// [{ start, end, bitrate }] of the segments of a rung, seconds and bits per second; null where the playlist has no sizes.
function bitrates(details) {
  const sized = details?.fragments.filter((each) => each.byteRange.length === 2 && each.duration);
  return sized?.length ? sized.map(({ start, duration, byteRange: [from, to] }) => ({ start, end: start + duration, bitrate: (8 * (to - from)) / duration })) : null;
}
