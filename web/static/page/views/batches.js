// The batches of a user, newest first.
import { page, query } from "../api.js";
import { Fault, Loading, State, isUnanswered, useEvery } from "../parts.js";
import { BatchBar } from "./batch.js";
import { ChooseUser } from "./jobs.js";
import { NONE, count, moment, nameOf, shortId } from "../format.js";
import { listen } from "../live.js";
import { user } from "../session.js";
import { words } from "../words.js";
import { html, useEffect, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  batches: ["Batches", "批次"],
  batch: ["Batch", "批次"], state: ["State", "状态"], jobs: ["Jobs", "任务数"], failed: ["Failed", "失败"], created: ["Created", "创建时间"], progress: ["Progress", "进度"], source: ["Inputs", "输入"],
  none: ["There is no batch yet. ", "还没有批次。"],
  send: ["Send one.", "提交一个。"],
  more: ["Show older ones", "显示更早的批次"],
});
const PAGE = 50;
const EVERY_SECONDS = 5;
const LOOKS = 2; // the counts follow the events by some seconds

export function View() {
  return html`<h1>${t("batches")}</h1>${user.value ? html`<${Batches} key=${user.value} />` : html`<${ChooseUser} />`}`;
}

const joined = (newest, before) => [...newest, ...before.filter(({ batchID }) => !newest.some((each) => each.batchID === batchID))];

function Batches() {
  const first = query("/api/v1/batches", { userID: user.value, limit: PAGE });
  const [state, setState] = useState({ items: null, next: first, error: null });
  const failed = (error) => setState((now) => ({ ...now, error }));
  const more = () => page(state.next).then(({ items, next }) => setState((now) => ({ items: joined(now.items ?? [], items), next, error: null })), failed);
  // The newest page again, before what is shown of older ones.
  const refresh = () => page(first).then(({ items }) => setState((now) => ({ ...now, items: joined(items, now.items ?? []), error: null })), failed);
  useEffect(() => { more(); }, []);
  const isOpen = state.items?.slice(0, PAGE).some((each) => !each.endedAt);
  const looks = useRef(0);
  useEffect(() => listen((events) => { if (events.some((event) => event.batchID)) looks.current = LOOKS; }), []);
  useEvery(EVERY_SECONDS, () => {
    if (isUnanswered(state.error)) (state.items ? refresh : more)();
    else if (state.items && (isOpen || looks.current)) refresh();
    looks.current = Math.max(0, looks.current - 1);
  }, [isOpen, state]);
  if (!state.items) return state.error ? html`<${Fault} error=${state.error} />` : html`<${Loading} />`;
  return html`
    <${Fault} error=${state.error} />
    ${state.items.length === 0 && html`<p class="quiet">${t("none")}<a href="#/send">${t("send")}</a></p>`}
    ${state.items.length > 0 && html`<section>
      <table><thead><tr>${["batch", "state", "progress", "source", "created"].map((name) => html`<th scope="col">${t(name)}</th>`)}${["jobs", "failed"].map((name) => html`<th scope="col" class="number">${t(name)}</th>`)}</tr></thead>
        <tbody>${state.items.map((each) => html`<tr key=${each.batchID}>
          <td><a href=${`#/batch/${each.batchID}`}>${shortId(each.batchID)}</a></td><td><${State} state=${each.state} /></td><td><${BatchBar} batch=${each} /></td>
          <td class="wide">${each.manifest ? nameOf(each.manifest) : each.prefix ?? NONE}</td><td>${moment(each.createdAt)}</td>
          <td class="number">${count(each.total)}</td><td class="number">${count(each.failed)}</td></tr>`)}</tbody></table></section>`}
    ${state.next && html`<button type="button" onClick=${more}>${t("more")}</button>`}`;
}
