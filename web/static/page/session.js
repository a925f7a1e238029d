// Whose jobs the page shows, and in which colours. Operators may choose any user, or none for all; others see their own.
import { ask } from "./api.js";
import { follow, listen } from "./live.js";
import { computed, effect, signal } from "../vendor/libraries.js";

const KNOWN_USERS = 50;

// { version, build, commit, userID, operator } of the deployment and the caller; null until the API has answered.
export const server = signal(null);
// The user of the lists; empty for all users.
export const user = signal("");
// Users whose events came by, as choices.
export const seenUsers = signal([]);
export const isOperator = computed(() => server.value?.operator ?? false);

export function chooseUser(chosen) {
  user.value = chosen;
  localStorage.setItem("user", chosen);
}

// Asks who the caller is, until the API answers, and then follows that user's events.
export async function begin() {
  for (let pause = 1000; !server.value; pause = Math.min(2 * pause, 15_000)) {
    try {
      server.value = await ask("GET", "/api/v1");
    } catch (error) {
      console.warn(error);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  user.value = isOperator.value ? localStorage.getItem("user") ?? "" : server.value.userID;
  effect(() => follow(user.value));
  listen(remember);
}

function remember(events) {
  const seen = new Set([...events.map((event) => event.userID).filter(Boolean).reverse(), ...seenUsers.value]);
  if (seen.size !== seenUsers.value.length) seenUsers.value = [...seen].slice(0, KNOWN_USERS);
}
