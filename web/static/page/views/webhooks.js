import { html } from "../../vendor/libraries.js";

export const View = () => html`<p>…</p>`;
