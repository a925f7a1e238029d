// Presets: built-in ones, those of the deployment, and stored ones, which operators make, change and remove.
import { ask } from "../api.js";
import { Copyable, Fault, Loading, useLoaded } from "../parts.js";
import { attempt, say } from "../notices.js";
import { MAIN } from "../form/draft.js";
import { Generated } from "../form/generated.js";
import { summary } from "../form/values.js";
import { isOperator } from "../session.js";
import { words } from "../words.js";
import { html, useState } from "../../vendor/libraries.js";

const t = words({
  presets: ["Presets", "预设"], stored: ["Stored here", "在此保存"], deployment: ["Of the deployment", "部署自带"], "built-in": ["Built-in", "内置"],
  none: ["None is stored yet.", "尚无保存的预设。"],
  use: ["Use", "使用"], useIt: ["Use {name}", "使用 {name}"], edit: ["Change", "修改"], editIt: ["Change {name}", "修改 {name}"], copy: ["New from this", "以此新建"], copyIt: ["New from this: {name}", "以此新建：{name}"],
  remove: ["Remove", "移除"], removeIt: ["Remove {name}", "移除 {name}"], sure: ["Remove the preset {name}? Jobs that used it keep their profiles.", "确定移除预设 {name}？已使用它的任务不受影响。"], removed: ["{name} is removed.", "已移除 {name}。"],
  create: ["New preset", "新建预设"], name: ["Name", "名称"], nameHint: ["1 to 64 lower-case letters, digits, '-' and '.', the first a letter or digit", "1 至 64 个小写字母、数字、“-”和“.”，以字母或数字开头"],
  store: ["Store", "保存"], cancel: ["Cancel", "取消"], storedIt: ["{name} is stored.", "已保存 {name}。"], changing: ["Change {name}", "修改 {name}"],
  unusable: ["This version cannot use it.", "当前版本无法使用此预设。"], given: ["As stored", "保存的内容"], resolved: ["As resolved", "解析后的内容"],
});
const SOURCES = ["stored", "deployment", "built-in"];
const EDITED = { ...MAIN, "/profile": ["ffmpeg", "package", "audio"] };

export function View() {
  const { data, error, again } = useLoaded(() => ask("GET", "/api/v1/presets"), []);
  const [edited, setEdited] = useState(null);
  const done = () => { setEdited(null); again(); };
  return html`
    <div class="heading"><h1>${t("presets")}</h1>${isOperator.value && !edited && html`<button type="button" onClick=${() => setEdited({ profile: {} })}>${t("create")}</button>`}</div>
    <${Fault} error=${error} />
    ${edited && html`<${Editor} key=${edited.name} preset=${edited} done=${done} cancel=${() => setEdited(null)} />`}
    ${data ? SOURCES.map((source) => html`<${Source} key=${source} ...${{ source, setEdited, again }} presets=${data.filter((each) => each.source === source)} />`) : !error && html`<${Loading} />`}`;
}

function Source({ source, presets, setEdited, again }) {
  if (!presets.length && source !== "stored") return null;
  return html`
    <section><h2>${t(source)}</h2>${presets.length === 0 && html`<p class="quiet">${t("none")}</p>`}
      <ul class="presets">${presets.map((preset) => html`<${Preset} key=${preset.name} ...${{ preset, setEdited, again }} />`)}</ul></section>`;
}

function Preset({ preset: { name, profile, resolved, source }, setEdited, again }) {
  const remove = () => attempt(async () => { await ask("DELETE", `/api/v1/presets/${name}`); say(t("removed", { name })); again(); });
  const begin = (change) => { setEdited(change); scrollTo(0, 0); };
  return html`
    <li><div class="heading"><h3>${name}</h3>
        ${resolved ? html`<a class="button" href=${`#/send?preset=${name}`} aria-label=${t("useIt", { name })}>${t("use")}</a>` : html`<span class="fault">${t("unusable")}</span>`}
        ${isOperator.value && html`
          ${source === "stored" && html`<button type="button" aria-label=${t("editIt", { name })} onClick=${() => begin({ name, profile })}>${t("edit")}</button>
            <button type="button" aria-label=${t("removeIt", { name })} onClick=${() => confirm(t("sure", { name })) && remove()}>${t("remove")}</button>`}
          <button type="button" aria-label=${t("copyIt", { name })} onClick=${() => begin({ profile })}>${t("copy")}</button>`}</div>
      <details><summary>${summary(profile)}</summary><div class="columns">
        <div><h4>${t("given")}</h4><${Copyable} block label=${t("given")} text=${JSON.stringify(profile, null, 2)} /></div>
        ${resolved && html`<div><h4>${t("resolved")}</h4><${Copyable} block label=${t("resolved")} text=${JSON.stringify(resolved, null, 2)} /></div>`}</div></details></li>`;
}

// `preset` has a name where it is stored already.
function Editor({ preset, done, cancel }) {
  const { data, error } = useLoaded(() => ask("GET", "/api/v1/openapi.json"), []);
  const [name, setName] = useState(preset.name ?? "");
  const send = async (value) => {
    await ask("PUT", `/api/v1/presets/${encodeURIComponent(name)}`, { profile: value.profile ?? {} });
    say(t("storedIt", { name }));
    done();
  };
  const naming = !preset.name && html`<div class="field"><label for="preset-name">${t("name")}</label><input id="preset-name" value=${name} aria-required="true" aria-describedby="preset-name-hint" spellcheck=${false}
    onInput=${({ target }) => setName(target.value.trim())} /><p class="hint" id="preset-name-hint">${t("nameHint")}</p></div>`;
  return html`
    <section><h2>${preset.name ? t("changing", { name: preset.name }) : t("create")}</h2><${Fault} error=${error} />
      ${data && html`<${Generated} document=${data} id="preset-form" schema="PresetRequest" main=${EDITED} initial=${{ profile: preset.profile }} submit=${t("store")} send=${send} before=${naming}
        beside=${html`<button type="button" onClick=${cancel}>${t("cancel")}</button>`} />`}</section>`;
}
