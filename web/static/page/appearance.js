// Language and colours, which people choose for all pages of this origin.
import { language, setLanguage, words } from "./words.js";
import { effect, html, signal } from "../vendor/libraries.js";

const t = words({
  light: ["Light", "浅色"],
  dark: ["Dark", "深色"],
  system: ["As the system", "跟随系统"],
  theme: ["Colours", "配色"],
  language: ["Language", "语言"],
});

export const theme = signal(localStorage.getItem("theme") ?? "");

export function chooseTheme(chosen) {
  theme.value = chosen;
  localStorage.setItem("theme", chosen);
}

// Keeps the document in the chosen colours and language.
export function appear() {
  effect(() => { document.documentElement.dataset.theme = theme.value; });
  effect(() => { document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en"; });
}

export const Appearance = () => html`
  <label>${t("language")}
    <select value=${language.value} onChange=${(event) => setLanguage(event.target.value)}>
      <option value="en" lang="en">English</option><option value="zh" lang="zh-CN">中文</option>
    </select>
  </label>
  <label>${t("theme")}
    <select value=${theme.value} onChange=${(event) => chooseTheme(event.target.value)}>
      <option value="">${t("system")}</option><option value="light">${t("light")}</option><option value="dark">${t("dark")}</option>
    </select>
  </label>`;
