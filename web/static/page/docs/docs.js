// The page at /docs: every operation of the API, and every message of its WebSocket and of the queues of workers, from the two
// documents that the API has of itself. It sends nothing else, and needs no token.
import { Appearance, appear } from "../appearance.js";
import { words } from "../words.js";
import { channelsOf, matching, operationsOf } from "./groups.js";
import { Fold, Member, Schema, Text } from "./schema.js";
import { effect, html, render, signal, useEffect, useMemo, useRef, useState } from "../../vendor/libraries.js";

const t = words({
  title: ["API", "接口"],
  skip: ["Skip to the content", "跳到内容"],
  contents: ["Contents", "目录"],
  main: ["Main", "主导航"],
  home: ["Home", "首页"],
  operations: ["Requests", "请求"],
  events: ["Events and queues", "事件与队列"],
  search: ["Search", "搜索"],
  shown: ["{count} of {total}", "{count} / {total}"],
  nothing: ["Nothing matches.", "没有匹配项。"],
  loading: ["Loading …", "加载中…"],
  fault: ["{path} is out of reach: {error}", "无法读取 {path}：{error}"],
  settings: ["Settings", "设置"],
  parameters: ["Parameters", "参数"],
  body: ["Body", "请求体"],
  content: ["Content", "内容"],
  answers: ["Answers", "响应"],
  example: ["Example", "示例"],
  refusals: ["Refused connections", "拒绝连接"],
  closes: ["Close codes", "关闭代码"],
  receiver: ["the webhook's URL", "回调地址"],
  get: ["get", "接收"],
  send: ["send", "发送"],
  about: ["ElasticRecode's own description: {openapi} as OpenAPI 3.1, {asyncapi} as AsyncAPI 3.0.", "ElasticRecode 的自述文件：{openapi}（OpenAPI 3.1）和 {asyncapi}（AsyncAPI 3.0）。"],
});

const PATHS = { openapi: "/api/v1/openapi.json", asyncapi: "/api/v1/asyncapi.json" };
const documents = signal(null);
const fault = signal("");
const chosen = signal(decodeURIComponent(location.hash.slice(1)));
addEventListener("hashchange", () => { chosen.value = decodeURIComponent(location.hash.slice(1)); });

async function load(path) {
  try {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    return await answer.json();
  } catch (error) {
    fault.value = t("fault", { path, error: error.message });
    throw error;
  }
}

function App() {
  const main = useRef();
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${t("skip")}</a>
    <header class="top">
      <a class="brand" href="/">ElasticRecode</a>
      <nav aria-label=${t("main")}><a href="/">${t("home")}</a><a href="/docs" aria-current="page">${t("title")}</a></nav>
      <details class="settings"><summary>${t("settings")}</summary><div class="sheet"><${Appearance} /></div></details>
    </header>
    <main id="main" tabindex="-1" ref=${main}>
      <h1>${t("title")}</h1>
      ${fault.value && html`<p class="fault" role="alert">${fault.value}</p>`}
      ${documents.value ? html`<${Contents} ...${documents.value} />` : !fault.value && html`<p class="quiet" aria-busy="true">${t("loading")}</p>`}
    </main>`;
}

function Contents({ openapi, asyncapi }) {
  const [query, setQuery] = useState("");
  const operations = useMemo(() => operationsOf(openapi), [openapi]);
  const channels = useMemo(() => channelsOf(asyncapi), [asyncapi]);
  const count = (groups) => groups.reduce((sum, { entries }) => sum + entries.length, 0);
  const halves = [[t("operations"), openapi, matching(operations, query)], [t("events"), asyncapi, matching(channels, query)]];
  const shown = halves.reduce((sum, [, , groups]) => sum + count(groups), 0);
  return html`
    <${About} />
    <div class="docs">
      <div class="beside">
        <label>${t("search")}<input type="search" value=${query} spellcheck=${false} onInput=${(event) => setQuery(event.target.value)} /></label>
        <p class="quiet" role="status">${shown ? t("shown", { count: shown, total: count(operations) + count(channels) }) : t("nothing")}</p>
        <nav aria-label=${t("contents")}>${halves.map(([title, , groups]) => groups.length > 0 && html`
          <h2>${title}</h2><ul class="plain">${groups.map((group) => html`<li><a lang="en" href=${`#${group.id}`}>${group.title}</a></li>`)}</ul>`)}</nav>
      </div>
      <div>${halves.map(([, document, groups]) => groups.map((group) => html`<${Group} key=${group.id} document=${document} group=${group} />`))}</div>
    </div>`;
}

function About() {
  const parts = t("about", { openapi: "\0openapi\0", asyncapi: "\0asyncapi\0" }).split("\0");
  return html`<p>${parts.map((part) => (PATHS[part] ? html`<a href=${PATHS[part]}>${PATHS[part]}</a>` : part))}</p>`;
}

function Group({ document, group }) {
  return html`<section id=${group.id}>
    <h2 lang="en">${group.title}${group.address && html` <code>${group.address}</code>`}</h2>
    <${Text} text=${group.description} />
    <${Parameters} document=${document} parameters=${group.parameters} />
    <${Codes} title=${t("refusals")} codes=${group.refusals} /><${Codes} title=${t("closes")} codes=${group.closes} />
    ${group.entries.map((entry) => html`<${Entry} key=${entry.id} document=${document} entry=${entry} />`)}
  </section>`;
}

// Closed entries have no content yet: there are many.
function Entry({ document, entry }) {
  const place = useRef();
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (chosen.value !== entry.id) return;
    setOpen(true);
    place.current.scrollIntoView();
  }, [chosen.value]);
  return html`<details class="entry" id=${entry.id} ref=${place} open=${isOpen} onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary><span class=${`kind ${entry.kind}`}>${t(entry.kind)}</span> <code>${entry.address || t("receiver")}</code> <span class="quiet" lang="en">${entry.title}</span></summary>
    ${isOpen && html`
      <${Text} text=${entry.description} />
      <${Parameters} document=${document} parameters=${entry.parameters} />
      ${entry.body && html`<h3>${entry.answers ? t("body") : t("content")}</h3><${Content} document=${document} ...${entry.body} />`}
      ${entry.command && html`<h3>${t("example")}</h3><pre tabindex="0">${entry.command}</pre>`}
      ${entry.answers && html`<h3>${t("answers")}</h3><ul class="plain">${entry.answers.map((answer) => html`<li><${Answer} document=${document} ...${answer} /></li>`)}</ul>`}`}
  </details>`;
}

const Content = ({ document, schema, examples }) => html`<${Schema} document=${document} schema=${schema} />
  ${examples.map(([name, value]) => html`<${Fold} summary=${`${t("example")}: ${name}`}>${() => html`<pre tabindex="0">${JSON.stringify(value, null, 2)}</pre>`}</${Fold}>`)}`;

function Answer({ document, status, description, schema, examples }) {
  const summary = html`<code>${status}</code> ${description}`;
  return schema ? html`<${Fold} summary=${summary}>${() => html`<${Content} document=${document} schema=${schema} examples=${examples} />`}</${Fold}>` : html`<p>${summary}</p>`;
}

const Parameters = ({ document, parameters }) => parameters?.length > 0 && html`<h3>${t("parameters")}</h3>
  <dl class="members">${parameters.map((each) => html`<${Member} key=${each.name} document=${document} ...${each} />`)}</dl>`;

const Codes = ({ title, codes }) => codes && html`<h3>${title}</h3>
  <dl class="members">${Object.entries(codes).map(([code, text]) => html`<div><dt><code>${code}</code></dt><dd>${text}</dd></div>`)}</dl>`;

appear();
effect(() => { document.title = `${t("title")} – ElasticRecode`; });
render(html`<${App} />`, document.getElementById("page"));
const [openapi, asyncapi] = await Promise.all([load(PATHS.openapi), load(PATHS.asyncapi)]);
documents.value = { openapi, asyncapi };
