// The fields of a form, one for each node of a schema (schema.js).
//
// `form` is { value, change(path, value), faults, main(pointer), extra(node, path) }: the whole value, what changes it, texts
// by pointers, the names that a group shows before "more", and what stands beside a field.
import { shownFields } from "./schema.js";
import { at, pointerOf } from "./values.js";
import { words } from "../words.js";
import { html, useEffect, useState } from "../../vendor/libraries.js";

const t = words({
  more: ["more ({n})", "更多（{n}）"],
  required: ["required", "必填"],
  normally: ["normally {value}", "默认 {value}"],
  between: ["{least} to {most}", "{least} 至 {most}"],
  above: ["above {least}, to {most}", "大于 {least}，至 {most}"],
  each: ["one per line", "每行一个"],
  own: ["a list of your own …", "自定义列表……"],
  add: ["Add to {name}", "添加 {name}"],
  remove: ["Remove {name} {n}", "移除 {name} {n}"],
  use: ["use {name}", "使用 {name}"],
});
const LONG_LIST = 100;
const LONG_HINT = 70;

const idOf = (path) => `field${pointerOf(path).replaceAll("/", "-")}`;

// A field with its label, its limits and its faults.
export function Field({ form, name, node, path, required }) {
  if (node.kind === "group") return html`<${Group} ...${{ form, name, node, path, required }} />`;
  const Input = INPUTS[node.kind];
  if (!Input) return null;
  const id = idOf(path);
  const faults = form.faults.get(pointerOf(path)) ?? [];
  const value = at(form.value, path);
  const change = (given) => form.change(path, given);
  const hint = hintOf(node);
  const described = [hint && `${id}-hint`, faults.length && `${id}-faults`].filter(Boolean).join(" ") || undefined;
  const attributes = { id, "aria-invalid": faults.length ? "true" : undefined, "aria-describedby": described, "aria-required": required ? "true" : undefined };
  return html`
    <div class=${`field ${isWide(node) ? "broad" : ""}`}>
      <div class="naming">${isChecks(node) ? html`<span id=${`${id}-name`}>${name}</span>` : html`<label for=${id}>${name}</label>`}${required && html`<span class="needed" aria-hidden="true">${t("required")}</span>`}</div>
      <div class="entry"><${Input} ...${{ form, name, node, path, value, change, attributes }} />${form.extra?.(node, path)}</div>
      ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
      <${Faults} id=${`${id}-faults`} faults=${faults} />
    </div>`;
}

const isChecks = (node) => node.kind === "list" && node.item.kind === "choice";
const isWide = (node) => ["list", "either"].includes(node.kind) || /^s3-|-ur[il]$/.test(node.format);

const Faults = ({ id, faults }) => faults.length > 0 && html`<p class="field-fault" id=${id}>${faults.map((each) => html`<span>${each}</span> `)}</p>`;

function hintOf(node) {
  const { least, above, most, initial } = node;
  const limits = node.kind === "number" && most !== undefined ? t(above === undefined ? "between" : "above", { least: least ?? above ?? "", most }) : node.kind === "text" && !node.suggestions ? short(node.description) : "";
  const normal = initial !== undefined && initial !== "" ? t("normally", { value: String(initial) }) : "";
  const lines = node.kind === "list" && node.item.kind !== "choice" ? `${t("each")}. ${short(node.item.description)}` : "";
  return [limits, normal, lines].filter(Boolean).join("; ");
}

// The first clauses of a long rule; the whole of it comes with a fault.
function short(text = "") {
  if (text.length <= LONG_HINT) return text;
  const end = text.lastIndexOf(",", LONG_HINT);
  return end > 0 ? text.slice(0, end) : text;
}

const Choice = ({ node, value, change, attributes }) => html`
  <select ...${attributes} value=${value === undefined ? "" : JSON.stringify(value)} onChange=${({ target }) => change(target.value === "" ? undefined : JSON.parse(target.value))}>
    <option value=""></option>
    ${node.values.map((each) => html`<option value=${JSON.stringify(each)}>${String(each)}</option>`)}
    ${value !== undefined && !node.values.includes(value) && html`<option value=${JSON.stringify(value)}>${String(value)}</option>`}
  </select>`;

const Num = ({ node, value, change, attributes }) => html`
  <input type="number" ...${attributes} min=${node.least ?? node.above} max=${node.most} step=${node.whole ? 1 : "any"} value=${value ?? ""}
    onInput=${({ target }) => change(target.value === "" ? undefined : Number(target.value))} />`;

const Text = ({ node, value, change, attributes }) => html`
  <input type="text" ...${attributes} maxlength=${node.most} value=${value ?? ""} spellcheck=${false} autocomplete="off" list=${node.suggestions && `${attributes.id}-words`}
    onInput=${({ target }) => change(target.value === "" ? undefined : target.value)} />
  ${node.suggestions && html`<datalist id=${`${attributes.id}-words`}>${node.suggestions.map((each) => html`<option value=${each} />`)}</datalist>`}`;

function List({ form, name, node, path, value, change, attributes }) {
  if (node.item.kind === "group") return html`<${Table} ...${{ form, name, node, path, value, change, attributes }} />`;
  if (isChecks(node)) return html`<${Checks} ...${{ node, value, change, attributes }} />`;
  return html`<${Lines} ...${{ node, value, change, attributes }} />`;
}

// Entries as lines of a text, which stays as it is typed while it means the same.
function Lines({ node, value, change, attributes }) {
  const [text, setText] = useState((value ?? []).join("\n"));
  const lines = (given) => given.split("\n").map((line) => line.trim()).filter(Boolean);
  useEffect(() => { if ((value ?? []).join("\n") !== lines(text).join("\n")) setText((value ?? []).join("\n")); }, [value]);
  const typed = ({ target }) => {
    setText(target.value);
    const given = lines(target.value);
    change(given.length ? given : undefined);
  };
  return html`<textarea ...${attributes} class=${(node.most ?? 0) > LONG_LIST ? "" : "short"} value=${text} spellcheck=${false} onInput=${typed}></textarea>`;
}

function Checks({ node, value = [], change, attributes }) {
  const choose = (word, isChosen) => {
    const chosen = node.item.values.filter((each) => (each === word ? isChosen : value.includes(each)));
    change(chosen.length ? chosen : undefined);
  };
  const { "aria-required": _, ...rest } = attributes;
  return html`<div role="group" aria-labelledby=${`${attributes.id}-name`} class="checks">${node.item.values.map((word, n) => html`
    <label class="check"><input type="checkbox" ...${n ? {} : rest} checked=${value.includes(word)} onChange=${({ target }) => choose(word, target.checked)} /> ${word}</label>`)}</div>`;
}

// Entries that are objects: a row of fields each.
function Table({ form, name, node, path, value = [], change, attributes }) {
  return html`
    <div class="entries" id=${attributes.id} tabindex="-1">
      ${value.map((_, n) => html`
        <fieldset key=${n}><legend>${name} ${n + 1}</legend>
          <div class="fields">${shownFields(node.item, value[n]).map((field) => html`<${Field} form=${form} key=${field.name} ...${field} path=${[...path, n, field.name]} />`)}</div>
          <button type="button" class="plain" aria-label=${t("remove", { name, n: n + 1 })} onClick=${() => change(value.filter((_, other) => other !== n))}>×</button>
        </fieldset>`)}
      ${value.length < (node.most ?? Infinity) && html`<button type="button" onClick=${() => change([...value, {}])}>${t("add", { name })}</button>`}
    </div>`;
}

// One of some words, or a list.
function Either({ form, name, node, path, value, change, attributes }) {
  const isOwn = typeof value === "object";
  const begin = () => change(node.other.item?.kind === "group" ? [{}] : []);
  const choose = ({ target }) => (target.value === "own" ? begin() : change(target.value === "" ? undefined : JSON.parse(target.value)));
  const Own = INPUTS[node.other.kind];
  return html`
    <select ...${attributes} value=${isOwn ? "own" : value === undefined ? "" : JSON.stringify(value)} onChange=${choose}>
      <option value=""></option>
      ${node.values.map((each) => html`<option value=${JSON.stringify(each)}>${String(each)}</option>`)}
      <option value="own">${t("own")}</option>
    </select>
    ${isOwn && html`<${Own} ...${{ form, name, node: node.other, path, value, change: (given) => change(given ?? []), attributes: { id: `${attributes.id}-own`, "aria-label": name } }} />`}`;
}

// An object: a box to use it, its main fields, and the others behind "more".
export function Group({ form, name, node, path, required, heading = name }) {
  const pointer = pointerOf(path);
  const id = idOf(path);
  const value = at(form.value, path);
  const faults = form.faults.get(pointer) ?? [];
  const isUsed = required || value !== undefined;
  const described = faults.length ? `${id}-faults` : undefined;
  const invalid = faults.length ? "true" : undefined;
  return html`
    <fieldset class=${`group ${isUsed ? "" : "unused"}`}>
      <legend>${required ? heading : html`<label class="check"><input type="checkbox" id=${id} aria-label=${t("use", { name })} checked=${isUsed} aria-invalid=${invalid} aria-describedby=${described}
        onChange=${({ target }) => form.change(path, target.checked ? {} : undefined)} /> ${name}</label>`}</legend>
      <${Faults} id=${`${id}-faults`} faults=${faults} />
      ${isUsed && html`<${Members} ...${{ form, node, path }} />`}
    </fieldset>`;
}

export function Members({ form, node, path }) {
  const pointer = pointerOf(path);
  const value = at(form.value, path) ?? {};
  const fields = shownFields(node, value);
  const main = form.main(pointer);
  const isMain = ({ name, required }) => required || !main || main.includes(name);
  const others = fields.filter((field) => !isMain(field));
  const draw = (some) => some.map((field) => html`<${Field} form=${form} key=${field.name} ...${field} path=${[...path, field.name]} />`);
  const isFilled = others.some(({ name }) => value[name] !== undefined);
  const isFaulty = others.some(({ name }) => [...form.faults.keys()].some((each) => `${each}/`.startsWith(`${pointer}/${name}/`)));
  const [text] = (node.description ?? "").split("\n\n").slice(1);
  return html`
    ${text && path.length > 1 && html`<p class="hint" lang="en">${marked(text)}</p>`}
    <div class="fields">${draw(fields.filter(isMain))}</div>
    ${others.length > 0 && html`<${More} n=${others.length} ...${{ isFilled, isFaulty }}><div class="fields">${draw(others)}</div></${More}>`}`;
}

// Opens by itself where something inside has a value or a fault, and stays as the user leaves it otherwise.
function More({ n, isFilled, isFaulty, children }) {
  const [open, setOpen] = useState(isFilled || isFaulty);
  useEffect(() => { if (isFilled || isFaulty) setOpen(true); }, [isFilled, isFaulty]);
  return html`<details class="more" open=${open} onToggle=${({ target }) => setOpen(target.open)}><summary>${t("more", { n })}</summary>${open && children}</details>`;
}

// A text of the API's description, its `words` as code.
const marked = (text) => text.split("`").map((part, n) => (n % 2 ? html`<code>${part}</code>` : part));

const INPUTS = { choice: Choice, number: Num, text: Text, list: List, either: Either };
