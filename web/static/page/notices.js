// Short notices: what has been done, or why it was not. Faults stay until they are closed.
import { html, signal } from "../vendor/libraries.js";
import { words } from "./words.js";

const t = words({ close: ["Close", "关闭"], notices: ["Notices", "通知"] });
const SECONDS = 6;

const notices = signal([]);
let last = 0;

export function say(text) {
  const id = add({ text });
  setTimeout(() => close(id), SECONDS * 1000);
}

export function fault(error) {
  console.warn(error);
  add({ text: error.message, isFault: true });
}

// Runs an action; what it throws is shown as a notice. Returns undefined then.
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    fault(error);
    return undefined;
  }
}

function add(notice) {
  notices.value = [...notices.value.slice(-4), { ...notice, id: ++last }];
  return last;
}

function close(id) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function Notices() {
  return html`
    <section class="notices" aria-label=${t("notices")} aria-live="polite">
      ${notices.value.map(({ id, text, isFault }) => html`
        <p key=${id} class=${isFault ? "fault" : ""}>${text}
          <button type="button" class="plain" aria-label=${t("close")} onClick=${() => close(id)}>×</button></p>`)}
    </section>`;
}
