// The scores of a film's frames, from the JSON report of its job.
import { words } from "../words.js";

const t = words({ unreadable: ["The report of the scores cannot be read. {why}", "无法读取评分报告。{why}"] });
const DEFAULT_RATE = 25;
const MOMENTS = 5;

let latest = null;

// The report of a job with a link from `open`; the latest one is kept. { numbers, seconds, metrics: { vmaf, psnr?, … } }: arrays
// with a place for each scored frame. `rate` places the frames of reports that have no times.
export function reportFrom(open, uri, rate) {
  if (latest?.uri !== uri) {
    const mine = latest = { uri, report: open(uri).then(({ url }) => read(url, rate)) };
    mine.report.catch(() => { if (latest === mine) latest = null; });
  }
  return latest.report;
}

function read(url, rate) {
  const worker = new Worker(new URL("report-worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => { if (data.error) reject(new Error(t("unreadable", { why: data.error }))); else resolve(timed(data.report, rate ?? DEFAULT_RATE)); };
    worker.onerror = () => reject(new Error(t("unreadable")));
    worker.postMessage(url);
  }).finally(() => worker.terminate());
}

function timed(report, rate) {
  report.seconds.forEach((at, n) => { if (Number.isNaN(at)) report.seconds[n] = report.numbers[n] / rate; });
  return report;
}

// The places of up to five frames with the lowest score, the worst first, a second apart if the film is long enough: those
// that the job's own report shows.
export function worstOf({ numbers, seconds, metrics: { vmaf } }) {
  const last = numbers.length - 1;
  if (last < 0) return [];
  const rate = seconds[last] > 0 ? numbers[last] / seconds[last] : DEFAULT_RATE;
  const apart = Math.max(1, Math.min(Math.round(rate), Math.floor(numbers[last] / (2 * MOMENTS))));
  const chosen = [];
  for (const place of [...vmaf.keys()].sort((a, b) => vmaf[a] - vmaf[b] || a - b)) {
    if (chosen.every((other) => Math.abs(numbers[place] - numbers[other]) >= apart)) chosen.push(place);
    if (chosen.length === MOMENTS) break;
  }
  return chosen;
}

// The second in the middle of a frame's time on the screen, which is where a player shows it for sure.
export function middleOf({ numbers, seconds }, place) {
  const [from, to] = place + 1 < numbers.length ? [place, place + 1] : [place - 1, place];
  const length = from < 0 ? 1 / DEFAULT_RATE : (seconds[to] - seconds[from]) / (numbers[to] - numbers[from]);
  return seconds[place] + length / 2;
}

// { places, lows, means }: of each of at most `most` columns, the place of the lowest score, that score, and the mean. The
// lowest one keeps a dip of a single frame in sight.
export function columnsOf({ metrics }, name, most) {
  const values = metrics[name];
  const width = Math.max(1, Math.ceil(values.length / most));
  const places = [], lows = [], means = [];
  for (let from = 0; from < values.length; from += width) {
    const until = Math.min(values.length, from + width);
    let low = from, sum = 0;
    for (let n = from; n < until; n++) {
      sum += values[n];
      if (values[n] < values[low]) low = n;
    }
    places.push(low);
    lows.push(values[low]);
    means.push(sum / (until - from));
  }
  return { places, lows, means };
}
