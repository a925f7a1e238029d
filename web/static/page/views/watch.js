// A job's output beside its source, or beside the output of another job, in step.
import { ask } from "../api.js";
import { route } from "../address.js";
import { Fault, Loading, useLoaded } from "../parts.js";
import { bitrate, decimal, nameOf, shortId } from "../format.js";
import { opener } from "../links.js";
import { Quality } from "../quality.js";
import { words } from "../words.js";
import { filmsOf, reportOf, usual } from "../player/films.js";
import { openFile } from "../player/files.js";
import { openPackage } from "../player/packages.js";
import { Pair } from "../player/pair.js";
import { middleOf, reportFrom, worstOf } from "../player/report.js";
import { spritesOf } from "../player/sprites.js";
import { MODES, Stage } from "../player/stage.js";
import { Transport, keyed } from "../player/transport.js";
import { html, useEffect, useMemo, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  watch: ["Watch", "观看"], job: ["The job's page", "任务页面"], player: ["Player", "播放器"],
  none: ["This job has no video to watch.", "该任务没有可观看的视频。"],
  noneBeside: ["Job {id} has no video to compare with.", "任务 {id} 没有可对比的视频。"],
  undecodable: ["This browser cannot decode {name}. The output plays alone.", "此浏览器无法解码 {name}，仅播放输出。"],
  unplayable: ["This browser cannot play {name}.", "此浏览器无法播放 {name}。"],
  apart: ["{name} is of another part of the film. The output plays alone.", "{name} 是影片的另一部分，仅播放输出。"],
  mode: ["View", "视图"], side: ["Side by side", "并排"], wipe: ["Slider", "滑动对比"], difference: ["Difference", "差异"],
  gain: ["Amplified", "放大差异"], zoom: ["Size", "缩放"], fit: ["Fit", "适应"], version: ["Output", "输出"], rung: ["Rung", "档位"],
  worst: ["Worst frames", "最差帧"], frame: ["frame {frame} · {score}", "第 {frame} 帧 · {score}"], loadWorst: ["Find the worst frames", "查找最差帧"],
});
const ZOOMS = [0, 1, 2, 4];
const GAINS = [1, 4, 16, 64];
const SMALL_BYTES = 4e6;

const read = (id) => ask("GET", `/api/v1/jobs/${encodeURIComponent(id)}/status`);

export function View({ id }) {
  const besideID = route.value.parameters.get("beside");
  const { data, error } = useLoaded(() => Promise.all([id, ...(besideID ? [besideID] : [])].map(read)), [id, besideID]);
  const isCurrent = data?.map((each) => each.jobID).join() === [id, ...(besideID ? [besideID] : [])].join();
  const [record, other] = isCurrent ? data : []; // after a step back, until the answer comes, the data is that of before
  const title = record ? nameOf(record.origin ?? record.input) : shortId(id);
  const heading = html`<div class="heading"><h1>${t("watch")}: ${title}</h1><a href=${`#/job/${id}`}>${t("job")}</a>
    ${other && html`<a href=${`#/job/${besideID}`}>${t("job")} ${shortId(besideID)}</a>`}</div>`;
  if (error) return html`${heading}<${Fault} error=${error} />`;
  if (!record) return html`${heading}<${Loading} />`;
  const films = filmsOf(record);
  if (!films.versions.length) return html`${heading}<p>${t("none")}</p>`;
  if (other && !filmsOf(other).versions.length) return html`${heading}<p>${t("noneBeside", { id: shortId(besideID) })}</p>`;
  return html`${heading}<${Player} key=${`${record.jobID} ${other?.jobID}`} record=${record} films=${films} other=${other} />`;
}

function Player({ record, films, other }) {
  const open = useMemo(() => opener(record.jobID), [record.jobID]);
  const beside = useMemo(() => besideOf(films, other, open), []);
  const [version, setVersion] = useState(0);
  const [mode, setMode] = useState("side");
  const [gain, setGain] = useState(16);
  const [zoom, setZoom] = useState(0);
  const holder = useRef();
  const played = usePlayed(record, films, films.versions[version], open, beside);
  const { pair, sizes, faults, ladder } = played;
  const { places, report, load } = useWorst(record, open, films);
  const sprites = useLoaded(() => spritesOf(record, open), [record.jobID]).data;
  const seek = (seconds) => { pair?.pause(); pair?.seek(seconds); holder.current.scrollIntoView({ block: "nearest" }); };
  const at = route.value.parameters.get("at");
  useEffect(() => { if (pair && at) pair.seek(Number(at)); }, [pair, at]);
  const rank = useRef(-1);
  const next = () => {
    if (!places?.length) return;
    rank.current = (rank.current + 1) % places.length;
    seek(middleOf(report, places[rank.current]));
  };
  const isAlone = !beside || faults.source;
  const names = other && { source: nameIn(beside.uri, other), output: nameIn(films.versions[version].uri, record) };
  const keys = { ...pairKeys(pair), w: next, z: () => setZoom(zoom ? 0 : 1), ...Object.fromEntries(MODES.map((each, n) => [n + 1, () => setMode(each)])) };
  useEffect(() => keyed(keys));
  const choice = (name, value, values, word, change) => html`<label>${t(name)}<select value=${value} onChange=${(event) => change(Number(event.target.value))}>
    ${values.map((each) => html`<option value=${each}>${word(each)}</option>`)}</select></label>`;
  return html`
    <section class="player" aria-label=${t("player")} ref=${holder}>
      ${faults.source && html`<p role="status" class="quiet">${t(faults.source.isApart ? "apart" : "undecodable", { name: nameOf(beside.uri) })}</p>`}
      ${faults.output && html`<p role="alert" class="fault">
        ${t("unplayable", { name: nameOf(films.versions[version].uri) })} ${faults.output.message || codecOf(record, films.versions[version].uri)}</p>`}
      <${Stage} names=${names} pair=${pair} source=${played.source} output=${played.output} mode=${mode} gain=${gain} zoom=${zoom} sizes=${sizes} isAlone=${isAlone} />
      <${Transport} names=${names} pair=${pair} sprites=${sprites} marks=${places?.map((place) => middleOf(report, place)) ?? []} hasSource=${!isAlone} stage=${holder} />
      <div class="actions settings-of-player">
        ${!isAlone && html`<fieldset class="modes"><legend>${t("mode")}</legend>${MODES.map((each, n) => html`
          <label><input type="radio" name="mode" checked=${mode === each} onChange=${() => setMode(each)} />
            ${t(each)} <kbd>${n + 1}</kbd></label>`)}</fieldset>`}
        ${mode === "difference" && !isAlone && choice("gain", gain, GAINS, (each) => `× ${each}`, setGain)}
        ${choice("zoom", zoom, ZOOMS, (each) => (each ? `${each} : 1` : t("fit")), setZoom)}
        ${films.versions.length > 1 && choice("version", version, [...films.versions.keys()], (n) => nameOf(films.versions[n].uri), setVersion)}
        ${ladder?.rungs.length > 0 && choice("rung", ladder.rung, ladder.rungs.map((each) => each.level), rungName(ladder.rungs), played.choose)}
      </div>
      <${Worst} record=${record} places=${places} report=${report} load=${load} seek=${seek} />
    </section>
    <${Quality} record=${record} onSeek=${seek} position=${pair?.time} rates=${ladder?.rates} />`;
}

const nameIn = (uri, record) => `${nameOf(uri)} · ${shortId(record.jobID)}`;

// What is shown beside an output, as { uri, isPackage, start, open }: an output of another job of the same source, or the source.
// `start` is the second in it at which the output begins. Null where there is nothing.
function besideOf(films, other, open) {
  if (!other) return films.source ? { uri: films.source, isPackage: false, start: films.start, open } : null;
  const { versions, start } = filmsOf(other);
  return { ...versions[0], start: films.start - start, open: opener(other.jobID) };
}

// The codec of an output, which the browser may lack.
const codecOf = (record, uri) => record.outputs?.find((each) => each.uri === uri)?.videoCodec ?? "";
const rungName = (rungs) => (level) => {
  const rung = rungs.find((each) => each.level === level);
  return `${rung.width} × ${rung.height} · ${bitrate(rung.bitrate)}`;
};
const pairKeys = (pair) => pair && { " ": () => pair.toggle(), ",": () => pair.step(-1), ".": () => pair.step(1), m: () => pair.toggleMute() };

// Both videos with what opens them: { pair, source, output, sizes, faults, ladder, choose }, `source` and `output` being references.
function usePlayed(record, films, version, open, beside) {
  const source = useRef(), output = useRef(), packaged = useRef();
  const [pair, setPair] = useState(null);
  const [sizes, setSizes] = useState({ source: null, output: null });
  const [faults, setFaults] = useState({});
  const [ladder, setLadder] = useState(null);
  useEffect(() => {
    const both = new Pair(output.current, beside ? source.current : null, beside?.start ?? 0, films.rate);
    const listening = new AbortController();
    const opened = [];
    let isOver = false;
    const fail = (side) => (error) => {
      if (isOver) return;
      console.warn(side, error);
      if (side === "source") both.dropSource();
      setFaults((before) => ({ ...before, [side]: error ?? {} }));
    };
    for (const [side, { current }] of Object.entries({ source, output })) {
      const sized = () => current.videoWidth && setSizes((before) => ({ ...before, [side]: [current.videoWidth, current.videoHeight] }));
      const begins = side === "source" ? both.start : -both.start;
      const timed = () => { if (begins > 0 && begins >= current.duration) fail("source")({ isApart: true }); };
      current.addEventListener("durationchange", timed, { signal: listening.signal });
      for (const name of ["loadedmetadata", "resize"]) current.addEventListener(name, sized, { signal: listening.signal });
    }
    output.current.addEventListener("loadedmetadata", () => {
      const frames = record.quality?.vmaf.pairedFrames;
      if (both.rate.value === null && frames) both.rate.value = usual(frames / output.current.duration);
    }, { signal: listening.signal });
    const start = async (side, video, film, state) => {
      const each = film.isPackage
        ? await openPackage(video, film.uri, film.open, state, fail(side))
        : openFile(video, film.uri, film.open, (change) => both.hold(change), fail(side));
      if (isOver) { each.end(); return; }
      if (film.isPackage && side === "output") packaged.current = each;
      opened.push(each);
    };
    setFaults({});
    setLadder(null);
    if (beside) start("source", source.current, beside, () => {}).catch(fail("source"));
    start("output", output.current, { ...version, open }, (state) => !isOver && setLadder({ ...state })).catch(fail("output"));
    both.hear("output");
    setPair(both);
    return () => { isOver = true; listening.abort(); both.end(); for (const each of opened) each.end(); };
  }, [record.jobID, version.uri]);
  return { pair, source, output, sizes, faults, ladder, choose: (level) => packaged.current.choose(level) };
}

// The places of the worst frames in the report, which is read at once where it is small.
function useWorst(record, open, films) {
  const file = reportOf(record);
  const [isWanted, setWanted] = useState(file?.bytes < SMALL_BYTES);
  const { data: report } = useLoaded(() => (isWanted && file ? reportFrom(open, file.uri, films.rate) : null), [isWanted, file?.uri]);
  const places = useMemo(() => report && worstOf(report), [report]);
  return { places, report, load: file && !isWanted ? () => setWanted(true) : null };
}

function Worst({ places, report, load, seek }) {
  if (load) return html`<button type="button" onClick=${load}>${t("loadWorst")}</button>`;
  if (!places?.length) return null;
  return html`<div class="worst" role="group" aria-label=${t("worst")}><span class="quiet">${t("worst")} <kbd>W</kbd></span>
    ${places.map((place) => html`<button type="button" key=${place} onClick=${() => seek(middleOf(report, place))}>
      ${t("frame", { frame: report.numbers[place], score: decimal(report.metrics.vmaf[place], 1) })}</button>`)}</div>`;
}
