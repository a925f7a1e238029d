// What the API refused of a form, at its fields.
import { sorted, without } from "./values.js";
import { Problem } from "../api.js";
import { words } from "../words.js";
import { html, useState } from "../../vendor/libraries.js";

const t = words({
  refused: ["It was not sent.", "未提交。"],
  field: ["One field is marked.", "已标出 1 个字段。"],
  fields: ["{n} fields are marked.", "已标出 {n} 个字段。"],
});
const SHOWN_MS = 50; // until the fields with faults are in the document
const NONE = { fields: new Map(), others: [] };

// { faults, refused(error), changed(path), clear() } of the form with that id. `refused` moves the focus to the first fault.
export function useFaults(node, id) {
  const [faults, setFaults] = useState(NONE);
  const refused = (error) => {
    setFaults(error instanceof Problem && error.faults.length ? sorted(node, error.faults) : { ...NONE, others: [error.message] });
    setTimeout(() => (document.querySelector(`#${id} [aria-invalid="true"]`) ?? document.querySelector(`#${id} [role="alert"]`))?.focus(), SHOWN_MS);
  };
  return {
    faults,
    refused,
    changed: (path) => setFaults((now) => ({ ...now, fields: without(now.fields, path) })),
    clear: () => setFaults(NONE),
  };
}

// How many fields are marked, and the faults that no field shows.
export function Refusal({ faults: { fields, others } }) {
  if (!fields.size && !others.length) return null;
  const marked = fields.size ? t(fields.size === 1 ? "field" : "fields", { n: fields.size }) : "";
  return html`<div class="fault refusal" role="alert" tabindex="-1"><p>${t("refused")} ${marked}</p>
    ${others.length > 0 && html`<ul>${others.map((each) => html`<li>${each}</li>`)}</ul>`}</div>`;
}
