// A short form for one request of the API, from its schema.
import { Refusal, useFaults } from "./faults.js";
import { Members } from "./fields.js";
import { read } from "./schema.js";
import { put } from "./values.js";
import { html, useState } from "../../vendor/libraries.js";

// `schema` names a schema of the API's description, `hidden` fields that are not asked for, `main` those before "more", by
// pointer. `send(value)` may throw the API's problem. `before` is drawn above the fields, `beside` with the button.
export function Generated({ document: described, id, schema, initial, hidden = [], main = {}, submit, send, before, beside }) {
  const [node] = useState(() => {
    const whole = read(described, described.components.schemas[schema]);
    return { ...whole, fields: whole.fields.filter(({ name }) => !hidden.includes(name)) };
  });
  const [value, setValue] = useState(initial);
  const [isBusy, setBusy] = useState(false);
  const { faults, refused, changed, clear } = useFaults(node, id);
  const form = {
    value,
    faults: faults.fields,
    main: (pointer) => main[pointer],
    change: (path, given) => { setValue((now) => put(now, path, given)); changed(path); },
  };
  const sent = async (event) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    clear();
    try {
      await send(value);
    } catch (error) {
      refused(error);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <form id=${id} noValidate onSubmit=${sent}><${Refusal} faults=${faults} />${before}<${Members} form=${form} node=${node} path=${[]} />
      <div class="actions"><button class="primary" disabled=${isBusy}>${submit}</button>${beside}</div></form>`;
}
