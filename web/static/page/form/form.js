// The form that sends work: kind, inputs, output, profile; beside it the request as `curl`, and a plan.
import { KINDS, bodyOf, change, choosePreset, draft, mainOf, nodeOf, own, presetOf, set } from "./draft.js";
import { command, elasticrecode } from "./curl.js";
import { Refusal, useFaults } from "./faults.js";
import { Field, Group, Members } from "./fields.js";
import { Files, uploader } from "./files.js";
import { Plan } from "./plan.js";
import { sources } from "./schema.js";
import { pageOf, submit } from "./submit.js";
import { summary } from "./values.js";
import { go } from "../address.js";
import { Copyable } from "../parts.js";
import { hasToken } from "../sign-in.js";
import { isOperator, server, user } from "../session.js";
import { words } from "../words.js";
import { html, useEffect, useMemo, useState } from "../../vendor/libraries.js";

const t = words({
  kind: ["Kind of work", "工作类型"],
  transcode: ["Transcode", "转码"], package: ["Package", "打包"], score: ["Score", "评分"], batch: ["Batch", "批次"],
  source: ["Inputs come from", "输入来源"],
  manifest: ["a list in S3", "S3 中的列表"], inputs: ["a list here", "此处的列表"], prefix: ["a folder in S3", "S3 中的文件夹"],
  preset: ["Preset", "预设"], custom: ["a profile of your own", "自定义配置"], builtIn: ["Built-in", "内置"], stored: ["Of this deployment", "本部署"],
  edit: ["Change its fields", "修改字段"], profile: ["Profile", "配置"],
  send: ["Send", "提交"], sending: ["Sending …", "提交中……"],
  request: ["The request", "请求"], token: ["Put a token into the shell's variable TOKEN; the command elasticrecode takes it from ELASTICRECODE_TOKEN, or from elasticrecode login.", "请将令牌放入 shell 变量 TOKEN；命令 elasticrecode 从 ELASTICRECODE_TOKEN 或 elasticrecode login 读取令牌。"],
});
export function Form({ document: described, presets }) {
  const { kind, source } = draft.value;
  const node = useMemo(() => nodeOf(described, kind), [described, kind]);
  const choices = presets.filter(({ profile }) => KINDS[kind].suits(profile));
  const preset = presetOf(draft.value, choices);
  const others = kind === "batch" ? sources(node).filter((name) => name in SOURCES) : [];
  const userid = isOperator.value ? draft.value.values.userid ?? (user.value || server.value.userID) : server.value.userID;
  const body = bodyOf({ ...draft.value, values: { ...draft.value.values, userid } }, node, preset, others);
  const { faults, refused, changed, clear } = useFaults(isOperator.value ? node : { ...node, fields: node.fields.filter(({ name }) => name !== "userid") }, "send");
  const [isBusy, setBusy] = useState(false);
  useEffect(clear, [kind, preset, source]);
  const send = async (path, given) => {
    setBusy(true);
    clear();
    try {
      go(pageOf(await submit(path, given)));
    } catch (error) {
      refused(error);
    } finally {
      setBusy(false);
    }
  };
  const { path, plans } = KINDS[kind];
  const { priority, output, budget } = body;
  const line = elasticrecode(kind, body, { url: location.origin, user: isOperator.value ? userid : "" });
  const sendBy = ({ planID }) => send(path, JSON.parse(JSON.stringify({ userid, plan: planID, output, priority, budget })));
  const form = {
    value: body,
    faults: faults.fields,
    main: mainOf(kind),
    extra: uploader(userid),
    change: (to, given) => { set(to, given); changed(to); },
  };
  return html`
    <form id="send" class="send" noValidate onSubmit=${(event) => { event.preventDefault(); if (!isBusy) send(path, body); }}>
      <div>
        <${Kinds} kind=${kind} />
        <${Refusal} faults=${faults} />
        <${Files} userID=${userid}><${Ends} ...${{ form, node, others, source }} /></${Files}>
        <${Profile} ...${{ form, node, choices, preset }} />
      </div>
      <div class="beside">
        <section><h2>${t("request")}</h2><${Copyable} block label="curl" text=${command(`${location.origin}/api${path}`, body, { hasToken: hasToken() })} />
          ${line && html`<${Copyable} block label="elasticrecode" text=${line} />`}
          ${hasToken() && html`<p class="hint">${t("token")}</p>`}</section>
        <div class="actions"><button class="primary" disabled=${isBusy}>${t(isBusy ? "sending" : "send")}</button></div>
        ${plans && html`<${Plan} ...${{ body, isBusy, sendBy, refused }} />`}
      </div>
    </form>`;
}

const SOURCES = { manifest: "manifest", inputs: "inputs", prefix: "prefix" };

const Kinds = ({ kind }) => html`
  <fieldset class="kinds"><legend>${t("kind")}</legend>${Object.keys(KINDS).map((each) => html`
    <label class="check"><input type="radio" name="kind" checked=${kind === each} onChange=${() => change({ kind: each })} /> ${t(each)}</label>`)}</fieldset>`;

// Where the work comes from and goes to, with everything beside the profile.
function Ends({ form, node, others, source }) {
  const isShown = ({ name }) => name !== "profile" && !(name === "userid" && !isOperator.value) && !(others.includes(name) && name !== source)
    && !(name === "suffixes" && source !== "prefix");
  const fields = node.fields.filter(isShown);
  const isMain = ({ name, required }) => required || name === source || name === "suffixes";
  const order = ({ name }) => ["userid", ...others, "suffixes", "input", "origin"].indexOf(name) + 1 || 99;
  return html`
    ${others.length > 0 && html`<div class="field"><label for="source">${t("source")}</label>
      <select id="source" value=${source} onChange=${({ target }) => change({ source: target.value })}>${Object.keys(SOURCES).filter((each) => others.includes(each)).map((each) => html`<option value=${each}>${t(each)}</option>`)}</select></div>`}
    <div class="fields">${fields.filter(isMain).sort((a, b) => order(a) - order(b)).map((field) => html`<${Field} form=${form} key=${field.name} ...${field} required=${isMain(field) && field.name !== "suffixes"} path=${[field.name]} />`)}</div>
    <${Members} form=${{ ...form, main: (pointer) => (pointer ? form.main(pointer) : []) }} node=${{ ...node, variants: undefined, description: "", fields: fields.filter((field) => !isMain(field)) }} path=${[]} />`;
}

function Profile({ form, node, choices, preset }) {
  const field = node.fields.find(({ name }) => name === "profile");
  const whole = { ...field.node, fields: field.node.fields.filter(({ name }) => name !== "preset") };
  const chosen = choices.find(({ name }) => name === preset);
  const faults = [...form.faults].filter(([pointer]) => preset && pointer.startsWith("/profile")).flatMap(([, texts]) => texts);
  const group = (label, some) => some.length > 0 && html`<optgroup label=${label}>${some.map(({ name }) => html`<option value=${name}>${name}</option>`)}</optgroup>`;
  return html`
    <section class="profile"><h2>${t("profile")}</h2>
      <div class="actions">
        <label for="preset">${t("preset")}</label><select id="preset" value=${preset ?? ""} aria-invalid=${faults.length ? "true" : undefined} aria-describedby="preset-faults preset-summary"
          onChange=${({ target }) => (target.value || draft.value.profiles[draft.value.kind] ? choosePreset(target.value || null) : own(chosen?.profile ?? {}))}>
          ${group(t("builtIn"), choices.filter(({ source }) => source === "built-in"))}${group(t("stored"), choices.filter(({ source }) => source !== "built-in"))}
          <option value="">${t("custom")}</option></select>
        ${chosen && html`<button type="button" onClick=${() => own(chosen.profile)}>${t("edit")}</button>`}
      </div>
      <p class="field-fault" id="preset-faults">${faults.join(" ")}</p>
      <p class="hint" id="preset-summary">${chosen ? summary(chosen.profile) : ""}</p>
      ${!preset && html`<${Group} form=${form} name="profile" heading=${t("custom")} node=${whole} path=${["profile"]} required />`}
    </section>`;
}
