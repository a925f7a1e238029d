// Sends work, by a form from the API's description of itself.
import { ask } from "../api.js";
import { Fault, Loading, useLoaded } from "../parts.js";
import { route } from "../address.js";
import { begin } from "../form/draft.js";
import { Form } from "../form/form.js";
import { words } from "../words.js";
import { html } from "../../vendor/libraries.js";

const t = words({ send: ["Send work", "提交工作"] });

const load = async () => {
  const [document, presets] = await Promise.all([ask("GET", "/api/v1/openapi.json"), ask("GET", "/api/v1/presets")]);
  begin(Object.fromEntries(route.value.parameters), presets, document);
  return { document, presets };
};

export function View() {
  const { data, error } = useLoaded(load, [route.value.parameters.toString()]);
  return html`<h1>${t("send")}</h1><${Fault} error=${error} />${data ? html`<${Form} ...${data} />` : !error && html`<${Loading} />`}`;
}
