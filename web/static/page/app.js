// The page's frame: navigation, the state of the connection, settings, and the view that the address names.
import { form, hasToken, signOut } from "./sign-in.js";
import { connection } from "./live.js";
import { begin, chooseUser, isOperator, seenUsers, server, user } from "./session.js";
import { address, route } from "./address.js";
import "./scroll.js";
import { Appearance, appear } from "./appearance.js";
import { words } from "./words.js";
import { Notices } from "./notices.js";
import { Fault, Loading, useLoaded } from "./parts.js";
import { shortId } from "./format.js";
import { VIEWS } from "./views.js";
import { effect, html, render, useEffect, useRef } from "../vendor/libraries.js";

const t = words({
  skip: ["Skip to the content", "跳到内容"],
  main: ["Main", "主导航"],
  settings: ["Settings", "设置"],
  user: ["User", "用户"],
  everyone: ["all users", "所有用户"],
  docs: ["API", "接口"],
  live: ["live", "实时"],
  lost: ["connection lost – reconnecting", "连接已断开，正在重连"],
  connecting: ["connecting", "正在连接"],
  signIn: ["Sign in", "登录"],
  signOut: ["Sign out", "退出登录"],
  unknown: ["There is no such page.", "没有这个页面。"],
});

function App() {
  if (form.value) return html`<${Frame}><${SignIn} key=${form.value.fields[0][0]} ...${form.value} /></${Frame}>`;
  const { view, id } = route.value;
  return html`<${Frame}>${server.value && (Object.hasOwn(VIEWS, view) ? html`<${Loaded} key=${view} view=${view} id=${id} />` : html`<p>${t("unknown")}</p>`)}</${Frame}>`;
}

function Loaded({ view, id }) {
  const { data: module, error } = useLoaded(() => VIEWS[view].load(), [view]);
  if (!module) return error ? html`<${Fault} error=${error} />` : html`<${Loading} />`;
  return html`<${module.View} key=${address.value.split("?")[0]} id=${id} />`;
}

function Frame({ children }) {
  const main = useRef();
  const shown = Object.entries(VIEWS).filter(([, { isPart, operators }]) => !isPart && (!operators || isOperator.value));
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${t("skip")}</a>
    <header class="top">
      <a class="brand" href="#/">ElasticRecode</a>
      <nav aria-label=${t("main")}>
        ${shown.map(([name, { title }]) => html`
          <a href=${`#/${name}`} aria-current=${route.value.view === name ? "page" : undefined}>${title()}</a>`)}
      </nav>
      <p id="connection" class=${connection.value} role="status">${form.value ? "" : t(connection.value)}</p>
      <${Settings} />
    </header>
    ${connection.value === "lost" && html`<div class="lost-line" aria-hidden="true"></div>`}
    <main id="main" tabindex="-1" ref=${main}>${children}</main>
    <${Notices} />
    <footer>${server.value && html`<span id="version">${server.value.version}</span>
      <span id="build">${server.value.build} · ${server.value.commit.slice(0, 12)}</span>`}
      <a href="/docs">${t("docs")}</a></footer>`;
}

function Settings() {
  return html`
    <details class="settings">
      <summary>${t("settings")}${isOperator.value && user.value ? html` · <span class="who">${user.value}</span>` : ""}</summary>
      <div class="sheet">
        ${isOperator.value && html`
          <label>${t("user")}
            <input list="users" value=${user.value} placeholder=${t("everyone")} spellcheck=${false}
              onChange=${(event) => chooseUser(event.target.value.trim())} />
            <datalist id="users">${seenUsers.value.map((each) => html`<option value=${each} />`)}</datalist>
          </label>`}
        <${Appearance} />
        ${hasToken() && html`<button type="button" onClick=${signOut}>${t("signOut")}</button>`}
      </div>
    </details>`;
}

function SignIn({ fields, message, submit }) {
  const first = useRef();
  useEffect(() => first.current.focus(), []);
  const send = (submission) => {
    submission.preventDefault();
    submit([...new FormData(submission.target).values()]);
  };
  return html`
    <form class="sign-in" onSubmit=${send}>
      <h1>${t("signIn")}</h1>
      ${fields.map(([label, type, autocomplete], n) => html`
        <label>${label}<input ref=${n ? undefined : first} name=${n} type=${type} autocomplete=${autocomplete} required spellcheck=${false} /></label>`)}
      ${message && html`<p class="fault" role="alert">${message}</p>`}
      <button>${t("signIn")}</button>
    </form>`;
}

effect(() => {
  const { view, id } = route.value;
  const title = Object.hasOwn(VIEWS, view) ? VIEWS[view].title() : t("unknown");
  document.title = `${title}${id ? ` ${shortId(id)}` : ""} – ElasticRecode`;
});
// Keyboards and screen readers go on in the new page, not where the link was.
addEventListener("hashchange", () => { if (!form.value) document.getElementById("main").focus({ preventScroll: true }); });
appear();
render(html`<${App} />`, document.getElementById("page"));
begin();
