// Parts that several views share: states, progress bars, long lists, charts, questions before an action.
import { hasEnded, stateWord } from "./records.js";
import { minute, percent, seconds } from "./format.js";
import { theme } from "./appearance.js";
import { language, words } from "./words.js";
import { Plot, Virtualizer, html, observeWindowOffset, observeWindowRect, useEffect, useLayoutEffect, useMemo, useRef, useState, windowScroll } from "../vendor/libraries.js";

const t = words({
  left: ["{time} left", "剩余 {time}"],
  progress: ["progress", "进度"],
  loading: ["Loading …", "加载中…"],
  copy: ["Copy", "复制"],
  copied: ["Copied", "已复制"],
});

export const State = ({ state }) => html`<span class=${`state ${state}`}>${stateWord(state)}</span>`;

export const Loading = () => html`<p class="quiet" aria-busy="true">${t("loading")}</p>`;

// The bar of a job that runs; nothing for one that has ended or waits.
export function Progress({ record }) {
  const { progress, state } = record;
  if (hasEnded(state) || state !== "running") return null;
  const known = progress?.percent != null;
  return html`
    <span class="progress">
      <progress max="100" value=${known ? progress.percent : undefined} aria-label=${t("progress")}></progress>
      <span class="figure">${known ? percent(progress.percent) : ""}</span>
      <span class="quiet">${progress?.etaSeconds != null ? t("left", { time: seconds(progress.etaSeconds) }) : ""}</span>
    </span>`;
}

// A figure with its name, as a list of definitions has them.
export const Figure = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

// A table of many rows of one height, of which only those in sight exist. `columns` are the names of the header, or { head, sort };
// `row(n)` gives the cells of a row, `more()` is called when the end comes near.
export function Rows({ label, columns, count, height, row, more, className = "" }) {
  const holder = useRef();
  const [, redraw] = useState(0);
  const list = useMemo(() => new Virtualizer({ count: 0, getScrollElement: () => null, estimateSize: () => height, observeElementRect() {}, observeElementOffset() {}, scrollToFn() {} }), []);
  list.setOptions({
    count,
    estimateSize: () => height,
    overscan: 15,
    scrollMargin: holder.current?.offsetTop ?? 0,
    getScrollElement: () => window,
    observeElementRect: observeWindowRect,
    observeElementOffset: observeWindowOffset,
    scrollToFn: windowScroll,
    onChange: () => redraw((n) => n + 1),
  });
  useLayoutEffect(() => list._didMount(), []);
  useLayoutEffect(() => list._willUpdate());
  useLayoutEffect(() => list.measure(), [height]);
  const shown = list.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  useEffect(() => { if (more && last >= count - 20) more(); }, [last, count, more]);
  return html`
    <div class=${`rows ${className}`} role="table" aria-label=${label} aria-rowcount=${count + 1}>
      <div role="rowgroup" class="rows-head"><div role="row" class="row" aria-rowindex="1">${columns.map((each) => html`<span role="columnheader" aria-sort=${each.sort}>${each.head ?? each}</span>`)}</div></div>
      <div role="rowgroup" class="rows-body" ref=${holder} style=${{ height: `${list.getTotalSize()}px` }}>
        ${shown.map((item) => {
          const { key, cells } = row(item.index);
          return html`<div role="row" class="row" key=${key} aria-rowindex=${item.index + 2}
            style=${{ height: `${height}px`, transform: `translateY(${item.start - list.options.scrollMargin}px)` }}>
            ${cells.map((cell) => html`<span role="cell">${cell}</span>`)}</div>`;
        })}
      </div>
    </div>`;
}

// Pixels beside a plot for half of its last label, 1:00:00.
const HALF_LABEL = 28;

// A plot of time series. `data` is uPlot's; `options(colour)` gives its options, `colour(name)` the page's colours.
export function Chart({ label, data, options, height = 180, onPlot }) {
  const holder = useRef();
  const plot = useRef();
  useEffect(() => {
    const element = holder.current; // the reference is gone before the last resizing
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    const given = options(colour);
    const times = given.scales?.x?.time === false ? {} : { values: (_, ticks) => ticks.map(minute) };
    const axes = (given.axes ?? [{}, {}]).map((each, n) => ({ ...axis, ...(n ? {} : times), ...each }));
    const padding = [null, HALF_LABEL, null, null];
    plot.current = new Plot({ width: element.clientWidth, height, padding, ...given, axes }, data, element);
    onPlot?.(plot.current);
    const sized = new ResizeObserver(() => plot.current.setSize({ width: element.clientWidth, height }));
    sized.observe(element);
    return () => { sized.disconnect(); plot.current.destroy(); };
  }, [theme.value, language.value, options]);
  useEffect(() => { if (plot.current && plot.current.data !== data) plot.current.setData(data); }, [data]);
  return html`<div class="chart" role="img" aria-label=${label} ref=${holder}></div>`;
}

// A text with a button that copies it.
export function Copyable({ text, label, block }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await write(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<span class=${block ? "copyable block" : "copyable"}>${block ? html`<pre tabindex="0">${text}</pre>` : html`<code>${text}</code>`}
    <button type="button" class="plain" aria-label=${label ? `${t("copy")}: ${label}` : t("copy")} onClick=${copy}>${copied ? t("copied") : t("copy")}</button></span>`;
}

// navigator.clipboard is missing where a page comes over http from another machine.
async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  return area.remove();
}

const RETRY_SECONDS = 5;
export const isUnanswered = (error) => error instanceof TypeError;

// Calls `load` when the view opens and whenever a dependency changes, and until there is an answer where no server gives one;
// { data, error, again }. An answer that comes after a later one is dropped.
export function useLoaded(load, dependencies) {
  const [state, setState] = useState({ data: null, error: null });
  const latest = useRef(0);
  const again = async () => {
    const mine = ++latest.current;
    try {
      const data = await load();
      if (mine === latest.current) setState({ data, error: null });
    } catch (error) {
      if (mine === latest.current) setState((before) => ({ ...before, error }));
    }
  };
  useEffect(() => { again(); return () => { latest.current++; }; }, dependencies);
  useEvery(RETRY_SECONDS, () => { if (isUnanswered(state.error)) again(); }, [...dependencies, state.error]);
  return { ...state, again, setData: (data) => setState({ data, error: null }) };
}

// Calls `action` now and again every `seconds`, while the page is in sight.
export function useEvery(seconds, action, dependencies = []) {
  useEffect(() => {
    const timer = setInterval(() => document.hidden || action(), seconds * 1000);
    return () => clearInterval(timer);
  }, dependencies);
}

export const Fault = ({ error }) => error && html`<p class="fault" role="alert">${error.message}</p>`;
