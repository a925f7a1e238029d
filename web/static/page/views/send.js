// Sends work. The form and the API's description of itself come when they are needed.
import { ask } from "../api.js";
import { Fault, Loading, useLoaded } from "../parts.js";
import { route } from "../address.js";
import { words } from "../words.js";
import { html } from "../../vendor/libraries.js";

const t = words({ send: ["Send work", "提交工作"] });

const load = async () => {
  const [{ Form }, draft, document, presets] = await Promise.all([
    import("../form/form.js"), import("../form/draft.js"), ask("GET", "/api/v1/openapi.json"), ask("GET", "/api/v1/presets"),
  ]);
  draft.begin(Object.fromEntries(route.value.parameters), presets);
  return { Form, document, presets };
};

export function View() {
  const { data, error } = useLoaded(load, [route.value.parameters.toString()]);
  return html`<h1>${t("send")}</h1><${Fault} error=${error} />
    ${data ? html`<${data.Form} document=${data.document} presets=${data.presets} />` : !error && html`<${Loading} />`}`;
}
