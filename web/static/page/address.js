// The address behind `#`: /VIEW, /VIEW/ID, and parameters, so that every view of a job or a filtered list has a URL.
import { computed, signal } from "../vendor/libraries.js";

const current = () => location.hash.slice(1) || "/";

export const address = signal(current());
addEventListener("hashchange", () => { address.value = current(); });

// { view, id, parameters }
export const route = computed(() => {
  const [path, search] = address.value.split("?");
  const [, view, ...rest] = path.split("/");
  return { view: view || "now", id: decoded(rest.join("/")), parameters: new URLSearchParams(search) };
});

// A part of an address as it was meant; as it is where somebody has typed a % of their own.
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

export function go(to) {
  location.hash = to;
}

// Changes parameters of the address, without a new entry in the browser's history.
export function setParameters(changes) {
  const [path] = address.value.split("?");
  const parameters = new URLSearchParams(route.value.parameters);
  for (const [name, value] of Object.entries(changes)) {
    if (value) parameters.set(name, value); else parameters.delete(name);
  }
  const search = parameters.toString();
  history.replaceState(history.state, "", `#${path}${search ? `?${search}` : ""}`);
  address.value = current();
}
