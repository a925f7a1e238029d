// The words of the page, in English and Chinese. A view types each text once, as a pair: words({ title: ["Now", "现在"] }).
import { computed, signal } from "../vendor/libraries.js";

const LANGUAGES = ["en", "zh"];
const stored = localStorage.getItem("language");

export const language = signal(LANGUAGES.includes(stored) ? stored : navigator.language.startsWith("zh") ? "zh" : "en");
export const locale = computed(() => (language.value === "zh" ? "zh-CN" : undefined));

export function setLanguage(chosen) {
  localStorage.setItem("language", chosen);
  language.value = chosen;
}

// A function of a key, and of values for the `{names}` in its text, that returns the text in the page's language.
export function words(pairs) {
  return (key, values = {}) => {
    const text = pairs[key]?.[LANGUAGES.indexOf(language.value)] ?? key;
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  };
}
