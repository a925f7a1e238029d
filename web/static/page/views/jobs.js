// The list of a user's jobs: filtered and paged by the API, sorted here, live, and with actions on many at once.
import { ask, page, query, retryFailed } from "../api.js";
import { go, route, setParameters } from "../address.js";
import { Fault, Loading, Progress, Rows, State } from "../parts.js";
import { NONE, count, moment, nameOf, seconds, shortId } from "../format.js";
import { attempt, say } from "../notices.js";
import { gaps, listen } from "../live.js";
import { KINDS, STATES, applied, canRetry, enters, hasEnded, kindWord, matches, runSeconds, stateWord } from "../records.js";
import { seenUsers, chooseUser, user } from "../session.js";
import { words } from "../words.js";
import { html, useEffect, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  jobs: ["Jobs", "任务"],
  state: ["State", "状态"],
  kind: ["Kind", "类型"],
  any: ["any", "不限"],
  since: ["From", "起始时间"],
  until: ["To", "截止时间"],
  batch: ["Batch", "批次"],
  code: ["Code", "错误代码"],
  text: ["Search", "搜索"],
  textHint: ["name, URI or id", "名称、URI 或 ID"],
  order: ["Order", "排序"],
  newest: ["newest first", "最新在前"],
  oldest: ["oldest first", "最早在前"],
  name: ["Input", "输入"],
  created: ["Created", "创建时间"],
  took: ["Took", "用时"],
  detail: ["Progress or error", "进度或错误"],
  select: ["Select {name}", "选择 {name}"],
  selectAll: ["Select all {n} loaded", "选择已加载的 {n} 个"],
  selected: ["{n} selected", "已选 {n} 个"],
  cancel: ["Cancel", "取消任务"],
  retry: ["Retry", "重试"],
  compare: ["Compare", "对比"],
  compareHint: ["Select two finished jobs to watch their outputs side by side", "选择两个已完成的任务，并排观看其输出"],
  retryAll: ["Retry all failed", "重试所有失败任务"],
  cancelled: ["{n} cancelled, {others} not.", "已取消 {n} 个，{others} 个未取消。"],
  retried: ["{n} run again, {others} not.", "已重新运行 {n} 个，{others} 个未能重试。"],
  retriedAll: ["{n} failed jobs run again.", "{n} 个失败任务已重新运行。"],
  loaded: ["{n} jobs{more}", "{n} 个任务{more}"],
  more: [", more below", "，下面还有"],
  reading: ["reading on …", "继续读取中…"],
  none: ["No job matches.", "没有符合条件的任务。"],
  noUser: ["Jobs are listed for one user. Choose one:", "任务按用户列出，请选择用户："],
  noneSeen: ["No user's events have come by yet; enter a user in the settings.", "尚未收到任何用户的事件；请在设置中填写用户。"],
  clear: ["Clear the filters", "清除筛选"],
  filters: ["Filters", "筛选"],
  active: ["Filters ({n})", "筛选（{n}）"],
  tryAgain: ["Try again", "再试一次"],
  sure: ["Cancel {n} jobs? What they have encoded is lost.", "确定取消 {n} 个任务吗？已编码的内容将丢失。"],
  sureAll: ["Retry all failed jobs of {user}, whatever the filters show?", "确定重试用户 {user} 的所有失败任务吗？筛选条件不起作用。"],
  sureBatch: ["Retry all failed jobs of this batch, whatever the filters show?", "确定重试该批次的所有失败任务吗？筛选条件不起作用。"],
  sort: ["Sort by {name}", "按{name}排序"],
});
const PAGE = 100;
const REFRESH_MS = 1500;
const MOST_PAGES = 4; // of new jobs, before the list begins anew
const MOST_ENTERING = 20; // of jobs from further below that enter a state, read one by one
const FILTERS = ["state", "kind", "batchID", "since", "until", "text", "code", "order"];
const SORTS = {
  name: (record) => nameOf(record.input).toLowerCase(),
  state: (record) => record.state,
  created: (record) => record.createdAt,
  took: (record) => runSeconds(record) ?? -1,
};

export function View() {
  if (!user.value) return html`<h1>${t("jobs")}</h1><${ChooseUser} />`;
  const filters = Object.fromEntries(FILTERS.map((name) => [name, route.value.parameters.get(name) ?? ""]));
  return html`<h1>${t("jobs")}</h1><${Filters} filters=${filters} /><${JobList} key=${JSON.stringify([user.value, filters, gaps.value])} filters=${filters} />`;
}

export function ChooseUser() {
  if (!seenUsers.value.length) return html`<p class="quiet">${t("noneSeen")}</p>`;
  return html`<p>${t("noUser")}</p><ul class="choices">${seenUsers.value.map((each) => html`
    <li><button type="button" onClick=${() => chooseUser(each)}>${each}</button></li>`)}</ul>`;
}

const toSeconds = (local) => (local ? new Date(local).getTime() / 1000 : "");
// The offset is that of the day itself, as summer time may have come between.
const toLocal = (unix) => {
  const date = new Date(unix * 1000);
  return unix && !isNaN(date) ? new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16) : "";
};

function Filters({ filters }) {
  // Only failed jobs have a code.
  const change = (name) => (event) => setParameters({ ...(name === "state" ? { code: "" } : {}), [name]: event.target.value.trim() });
  const choice = (name, values, word) => html`
    <label>${t(name)}<select value=${filters[name]} onChange=${change(name)}>
      <option value="">${t("any")}</option>${values.map((value) => html`<option value=${value}>${word(value)}</option>`)}</select></label>`;
  const time = (name) => html`
    <label>${t(name)}<input type="datetime-local" value=${toLocal(filters[name])} onChange=${(event) => setParameters({ [name]: String(toSeconds(event.target.value)) })} /></label>`;
  const isFiltered = FILTERS.some((name) => name !== "order" && filters[name]);
  const isNarrow = useNarrow();
  const [isOpen, setOpen] = useState(false);
  const folded = FILTERS.filter((name) => name !== "text" && filters[name]).length;
  return html`
    <form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label class="grow">${t("text")}<input type="search" value=${filters.text} placeholder=${t("textHint")} onChange=${change("text")} /></label>
      ${isNarrow && html`<button type="button" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>${folded ? t("active", { n: folded }) : t("filters")}</button>`}
      ${(!isNarrow || isOpen) && html`
      ${choice("state", STATES, stateWord)}${choice("kind", KINDS, kindWord)}${time("since")}${time("until")}
      <label>${t("batch")}<input value=${filters.batchID} spellcheck=${false} onChange=${change("batchID")} /></label>
      ${(filters.state === "failed" || filters.code) && html`<label>${t("code")}<input value=${filters.code} spellcheck=${false} onChange=${change("code")} /></label>`}
      <label>${t("order")}<select value=${filters.order} onChange=${change("order")}>
        <option value="">${t("newest")}</option><option value="oldest">${t("oldest")}</option></select></label>`}
      ${isFiltered && html`<button type="button" onClick=${() => setParameters(Object.fromEntries(FILTERS.map((name) => [name, ""])))}>${t("clear")}</button>`}
    </form>`;
}

// The records of a list as pages come, kept up by events: { records, isComplete, isReading, error, more, change }.
function useJobs(filters) {
  const state = useRef({ records: new Map(), next: query("/api/v1/jobs", { userID: user.value, ...filters, limit: PAGE }), isReading: false, error: null });
  const [, redraw] = useState(0);
  const first = state.current.first ??= state.current.next;
  const add = (items, isNew) => {
    const before = state.current.records;
    state.current.records = isNew ? new Map([...items.map((each) => [each.jobID, each]), ...before]) : before;
    for (const record of items) state.current.records.set(record.jobID, record);
    redraw((n) => n + 1);
  };
  const more = async (isAsked = false) => {
    const now = state.current;
    if (now.isReading || !now.next || (now.error && !isAsked)) return;
    now.isReading = true;
    now.error = null;
    redraw((n) => n + 1);
    try {
      const had = now.records.size;
      while (now.next && now.records.size === had && !now.isOver) {
        const { items, next } = await page(now.next);
        now.next = next;
        add(items, false);
      }
    } catch (error) {
      now.error = error;
    }
    now.isReading = false;
    redraw((n) => n + 1);
  };
  // Puts records where the order has them. Those below what is loaded come with the page that has them.
  const insert = (items) => {
    const now = state.current;
    const order = filters.order === "oldest" ? 1 : -1;
    const before = [...now.records.values()];
    const lowest = before.at(-1);
    const isIn = (each) => !now.records.has(each.jobID) && matches(each, filters) && (!now.next || (lowest && order * (each.createdAt - lowest.createdAt) <= 0));
    const entering = items.filter(isIn);
    if (!entering.length) return;
    now.records = new Map([...before, ...entering].sort((a, b) => order * (a.createdAt - b.createdAt)).map((each) => [each.jobID, each]));
    redraw((n) => n + 1);
  };
  useEffect(() => {
    more();
    let waiting = null;
    const entering = new Set();
    // Reads the newest jobs until one is known. Where there are very many new ones, the list begins anew with them.
    const refresh = async () => {
      waiting = null;
      const now = state.current;
      if (entering.size) {
        const ids = [...entering].filter((id) => !now.records.has(id)).slice(0, MOST_ENTERING);
        entering.clear();
        const read = await allOf(ids, (id) => ask("GET", `/api/v1/jobs/${encodeURIComponent(id)}/status`));
        if (!now.isOver) insert(read.filter((each) => each.status === "fulfilled").map((each) => each.value));
        if (ids.length < MOST_ENTERING) return;
      }
      if (filters.order === "oldest") return;
      const isSearch = filters.text || filters.code; // its pages may be empty
      const items = [];
      let next = first, isJoined = false;
      for (let n = 0; n < (isSearch ? 1 : MOST_PAGES) && next && !isJoined && !now.isOver; n++) {
        const read = await page(next);
        items.push(...read.items);
        next = read.next;
        isJoined = read.items.some((each) => now.records.has(each.jobID));
      }
      const isApart = !isJoined && !isSearch;
      if (isApart && now.isReading) { soon(); return; }
      if (isApart) { now.records = new Map(); now.next = next; }
      add(items, true);
    };
    const soon = () => { waiting ??= setTimeout(() => refresh().catch(console.warn), REFRESH_MS); };
    const end = listen((events) => {
      const { records } = state.current;
      let touched = false;
      for (const event of events) {
        const record = records.get(event.jobID);
        if (record) { records.set(event.jobID, applied(record, event)); touched = true; }
        else if (event.jobID && !event.batch && enters(event, filters.state)) {
          // A job that enters the state of the list may be of any age.
          if (!filters.state) soon();
          else if (!filters.code || event.error?.code === filters.code) { entering.add(event.jobID); soon(); }
        }
      }
      if (touched) redraw((n) => n + 1);
    });
    return () => { end(); clearTimeout(waiting); state.current.isOver = true; };
  }, []);
  return { ...state.current, more, add };
}

function JobList({ filters }) {
  const { records, next, isReading, error, more, add } = useJobs(filters);
  const [sort, setSort] = useState({ name: "", down: false });
  const [selected, setSelected] = useState(new Set());
  const isNarrow = useNarrow();
  // What changes of a record. The rest is for the API to judge.
  const { state, code } = filters;
  let shown = [...records.values()].filter((record) => matches(record, { state, code }));
  useEffect(() => { if (!shown.length && next) more(); });
  if (sort.name) shown = sorted(shown, SORTS[sort.name], sort.down);
  const toggle = (id) => setSelected((before) => { const after = new Set(before); if (!after.delete(id)) after.add(id); return after; });
  const header = (name) => ({
    sort: sort.name === name ? (sort.down ? "descending" : "ascending") : undefined,
    head: html`<button type="button" class="plain" aria-label=${t("sort", { name: t(name) })}
      onClick=${() => setSort({ name, down: sort.name === name && !sort.down })}>${t(name)}${sort.name === name ? (sort.down ? " ↓" : " ↑") : ""}</button>`,
  });
  const all = html`<input type="checkbox" aria-label=${t("selectAll", { n: count(shown.length) })} checked=${selected.size > 0 && selected.size === shown.length}
    onChange=${(event) => setSelected(new Set(event.target.checked ? shown.map((each) => each.jobID) : []))} />`;
  const chosen = shown.filter((record) => selected.has(record.jobID));
  const row = (n) => ({ key: shown[n].jobID, cells: cells(shown[n], selected.has(shown[n].jobID), toggle) });
  return html`
    <${Actions} chosen=${chosen} batchID=${filters.batchID} done=${(changed) => { add(changed, false); setSelected(new Set()); }} />
    <${Fault} error=${error} />${error && html`<button type="button" onClick=${() => more(true)}>${t("tryAgain")}</button>`}
    ${shown.length > 0 && html`<${Rows} label=${t("jobs")} className="jobs" count=${shown.length} height=${isNarrow ? 92 : 38} row=${row} more=${more}
      columns=${[all, header("name"), header("state"), t("kind"), header("created"), header("took"), t("detail")]} />`}
    ${!shown.length && !next && !isReading && html`<p class="quiet">${t("none")}</p>`}
    ${!shown.length && isReading && !filters.text && html`<${Loading} />`}
    <p class="quiet" aria-live="polite">${t("loaded", { n: count(shown.length), more: next ? t("more") : "" })} ${isReading && filters.text ? t("reading") : ""}</p>`;
}

function cells(record, isSelected, toggle) {
  const name = nameOf(record.input);
  return [
    html`<input type="checkbox" aria-label=${t("select", { name: `${name} ${shortId(record.jobID)}` })} checked=${isSelected} onChange=${() => toggle(record.jobID)} />`,
    html`<a href=${`#/job/${record.jobID}`} title=${record.input}>${name}</a>`,
    html`<${State} state=${record.state} />`,
    kindWord(record.kind),
    moment(record.createdAt),
    record.startedAt ? seconds(runSeconds(record)) : NONE,
    record.error && record.state === "failed" ? html`<span class="fault" title=${record.error.message}>${record.error.code}</span>` : html`<${Progress} record=${record} />`,
  ];
}

function sorted(records, key, down) {
  const order = down ? -1 : 1;
  return records.map((record) => [key(record), record]).sort(([a], [b]) => (a < b ? -order : a > b ? order : 0)).map(([, record]) => record);
}

function Actions({ chosen, batchID, done }) {
  const open = chosen.filter((record) => !hasEnded(record.state));
  const again = chosen.filter((record) => canRetry(record.state));
  const act = (records, method, suffix, word) => async () => {
    const results = await allOf(records, (record) => ask(method, `/api/v1/jobs/${record.jobID}${suffix}`));
    const changed = results.filter((result) => result.status === "fulfilled").map((result) => result.value);
    say(t(word, { n: count(changed.length), others: count(records.length - changed.length) }));
    done(changed);
  };
  const isPair = chosen.length === 2 && chosen.every((record) => record.state === "finished");
  const compare = () => go(`/watch/${chosen[0].jobID}?beside=${chosen[1].jobID}`);
  const cancel = act(open, "DELETE", "", "cancelled");
  const retryAll = () => attempt(async () => {
    const retried = await retryFailed(user.value, batchID);
    say(t("retriedAll", { n: count(retried) }));
  });
  return html`
    <div class="actions">
      <button type="button" disabled=${!open.length} onClick=${() => confirm(t("sure", { n: count(open.length) })) && cancel()}>${t("cancel")}${open.length ? ` (${open.length})` : ""}</button>
      <button type="button" disabled=${!again.length} onClick=${act(again, "POST", "/retry", "retried")}>${t("retry")}${again.length ? ` (${again.length})` : ""}</button>
      <button type="button" disabled=${!isPair} title=${t("compareHint")} onClick=${compare}>${t("compare")}</button>
      <button type="button" onClick=${() => confirm(t(batchID ? "sureBatch" : "sureAll", { user: user.value })) && retryAll()}>${t("retryAll")}</button>
      <span class="quiet">${chosen.length ? t("selected", { n: count(chosen.length) }) : ""}</span>
    </div>`;
}

// The outcomes of an action on each item, a few at a time.
async function allOf(items, action, width = 6) {
  const outcomes = [];
  for (let at = 0; at < items.length; at += width) outcomes.push(...await Promise.allSettled(items.slice(at, at + width).map(action)));
  return outcomes;
}

function useNarrow() {
  const media = matchMedia("(max-width: 48rem)");
  const [isNarrow, setNarrow] = useState(media.matches);
  useEffect(() => {
    const changed = (event) => setNarrow(event.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, []);
  return isNarrow;
}
