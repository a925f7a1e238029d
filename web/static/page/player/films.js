// What a job has to be watched. Pure.

const USUAL_RATES = [24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 100, 120];
const NEAR = 0.02;

// { source, versions, start, rate }: the URI of the source, and what was made of it as [{ uri, isPackage }]. `start` is the
// second of the source at which the versions begin; `rate` are frames per second, null where the record does not have it.
export function filmsOf(record) {
  const { outputs, profile, quality } = record;
  if (record.origin) return { source: record.origin, versions: [{ uri: record.input, isPackage: false }], start: 0, rate: null };
  const files = (outputs ?? []).filter((each) => each.role === "file" && (each.width ?? each.videoCodec));
  const packages = (outputs ?? []).filter((each) => each.role === "playlist" && each.uri.endsWith(".m3u8"));
  const versions = [...files.map(({ uri }) => ({ uri, isPackage: false })), ...packages.map(({ uri }) => ({ uri, isPackage: true }))];
  const seen = files[0] ?? outputs?.find((each) => each.role === "rendition");
  const frames = seen?.frames ?? quality?.vmaf.pairedFrames;
  const rate = seen?.frameRate ?? (seen?.duration && frames ? usual(frames / seen.duration) : null);
  return { source: record.input, versions, start: profile?.ffmpeg?.start ?? 0, rate };
}

// The usual frame rate near another one; that one itself where there is none.
export function usual(rate) {
  const distance = (each) => Math.abs(rate / each - 1);
  const nearest = USUAL_RATES.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  return distance(nearest) < NEAR ? nearest : rate;
}

// The report with the score of each frame; undefined where the job has none, as that of a package has rungs alone.
export function reportOf(record) {
  if (!record.profile?.vmaf || (record.profile.package && !record.profile.ffmpeg)) return undefined;
  return record.outputs?.find((each) => each.role === "report" && each.uri.endsWith(".vmaf.json"));
}

// 0:05.320, 1:02:03.000
export function clock(seconds, places = 3) {
  const whole = Math.max(0, Math.round(seconds * 10 ** places));
  const minutes = Math.floor(whole / (60 * 10 ** places));
  const rest = ((whole % (60 * 10 ** places)) / 10 ** places).toFixed(places).padStart(places ? places + 3 : 2, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}
