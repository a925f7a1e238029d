// A JSON Schema as people read it: fields with their types and rules. What lies deeper is rendered when it is opened.
import { deref } from "../form/schema.js";
import { words } from "../words.js";
import { html, useState } from "../../vendor/libraries.js";

const t = words({
  required: ["required", "必填"],
  any: ["anything", "任意值"],
  oneOf: ["one of {count}", "{count} 种之一"],
  length: ["length", "长度"],
  entries: ["entries", "条目"],
  initial: ["default", "默认"],
  matches: ["matches", "匹配"],
  not: ["none of", "不能是"],
  alternative: ["alternative {n}", "选项 {n}"],
});

const RULES = {
  minimum: () => "≥", exclusiveMinimum: () => ">", maximum: () => "≤", exclusiveMaximum: () => "<",
  minLength: () => `${t("length")} ≥`, maxLength: () => `${t("length")} ≤`, minItems: () => `${t("entries")} ≥`, maxItems: () => `${t("entries")} ≤`,
  pattern: () => t("matches"), default: () => t("initial"),
};

// A description: paragraphs, with words in backticks as code.
export const Text = ({ text }) => (text ?? "").split("\n\n").filter(Boolean).map((paragraph) => html`
  <p lang="en">${paragraph.split("`").map((part, n) => (n % 2 ? html`<code>${part}</code>` : part))}</p>`);

// Details whose content exists while they are open.
export function Fold({ summary, children, className }) {
  const [isOpen, setOpen] = useState(false);
  return html`<details class=${className} onToggle=${(event) => { event.stopPropagation(); setOpen(event.currentTarget.open); }}>
    <summary>${summary}</summary>${isOpen && children()}</details>`;
}

export function Schema({ document, schema }) {
  const whole = merged(document, schema);
  const alternatives = alternativesOf(whole);
  if (alternatives.length > 1) return html`<ul class="plain">${alternatives.map((each, n) => html`<li><${Part} document=${document} schema=${each} n=${n} /></li>`)}</ul>`;
  if (whole.properties) {
    return html`<dl class="members">${Object.entries(whole.properties).map(([name, each]) => html`
      <${Member} key=${name} document=${document} schema=${each} name=${name} required=${whole.required?.includes(name)} />`)}</dl>`;
  }
  const inner = innerOf(document, whole);
  return html`<${Type} document=${document} schema=${whole} />${inner && html`<${Schema} document=${document} schema=${inner} />`}`;
}

function Part({ document, schema, n }) {
  const title = merged(document, schema).title ?? t("alternative", { n: n + 1 });
  if (!innerOf(document, schema)) return html`<${Type} document=${document} schema=${schema} />`;
  return html`<${Fold} summary=${title}>${() => html`<${Schema} document=${document} schema=${schema} />`}</${Fold}>`;
}

export function Member({ document, schema, name, required, description }) {
  const whole = deref(document, schema);
  const inner = innerOf(document, schema);
  const type = html`<${Type} document=${document} schema=${schema} />`;
  return html`<div><dt><code>${name}</code>${required && html` <span class="needed">${t("required")}</span>`}</dt>
    <dd><${Text} text=${description ?? whole.description} />
      ${inner ? html`<${Fold} summary=${type}>${() => html`<${Schema} document=${document} schema=${inner} />`}</${Fold}>` : type}</dd></div>`;
}

function Type({ document, schema }) {
  const whole = deref(document, schema);
  const rules = Object.entries(RULES).filter(([name]) => whole[name] !== undefined);
  return html`<span class="type">${typeOf(document, schema)}</span>${rules.map(([name, text]) => html`
    <span class="rule">${text()} <code>${typeof whole[name] === "string" ? whole[name] : JSON.stringify(whole[name])}</code></span>`)}`;
}

function typeOf(document, schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.not?.enum) return `${t("not")} ${schema.not.enum.join(", ")}`;
  const alternatives = alternativesOf(schema);
  if (alternatives.length > 4) return t("oneOf", { count: alternatives.length });
  if (alternatives.length) return [...new Set(alternatives.map((each) => typeOf(document, each)))].join(" | ");
  if (Array.isArray(schema.items)) return `[${schema.items.map((each) => typeOf(document, each)).join(", ")}]`;
  if (schema.type === "array") return `${schema.items ? typeOf(document, schema.items) : t("any")}[]`;
  if (schema.additionalProperties?.type || schema.additionalProperties?.$ref) return `{string: ${typeOf(document, schema.additionalProperties)}}`;
  return [schema.title ?? schema.type ?? t("any")].flat().join(" | ") + (schema.format ? ` (${schema.format})` : "");
}

// What there is to see inside a schema; null for a plain value.
function innerOf(document, schema) {
  const whole = merged(document, schema);
  if (whole.properties) return whole;
  const alternatives = alternativesOf(whole).filter((each) => innerOf(document, each));
  if (alternatives.length) return alternatives.length === 1 ? innerOf(document, alternatives[0]) : whole;
  if (whole.items && !Array.isArray(whole.items)) return innerOf(document, whole.items);
  return typeof whole.additionalProperties === "object" ? innerOf(document, whole.additionalProperties) : null;
}

// Alternatives that are values: an `anyOf` of `required` alone is a rule, not a choice.
const alternativesOf = (schema) => (schema.anyOf ?? schema.oneOf ?? []).filter((each) => each.$ref || each.type || each.enum || each.anyOf || each.properties || each.const !== undefined);

// A schema with the parts of its `allOf` joined: fields of one part narrow those of another.
function merged(document, schema) {
  const { allOf = [], ...own } = deref(document, schema);
  return allOf.map((each) => merged(document, each)).reduce((whole, part) => ({
    ...whole,
    ...part,
    title: whole.title ?? part.title,
    properties: { ...whole.properties, ...part.properties },
    required: [...(whole.required ?? []), ...(part.required ?? [])],
  }), own);
}
