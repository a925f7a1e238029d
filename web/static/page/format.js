// Times, sizes and rates as people read them, in the page's language.
import { locale, words } from "./words.js";

const t = words({
  seconds: ["{n} s", "{n} 秒"],
  minutes: ["{n} min", "{n} 分钟"],
  hours: ["{n} h", "{n} 小时"],
  days: ["{n} d", "{n} 天"],
});
const UNITS = [["days", 86_400], ["hours", 3_600], ["minutes", 60], ["seconds", 1]];

export const NONE = "–";
const number = (value, digits = 1) => value.toLocaleString(locale.value, { maximumFractionDigits: digits });

export const count = (value) => (value == null ? NONE : number(value, 0));
export const decimal = (value, digits) => (value == null ? NONE : number(value, digits));
export const percent = (value) => (value == null ? NONE : `${number(value)} %`);

// A length in seconds in its largest unit, with the next smaller one: 1 h 5 min.
export function seconds(value) {
  if (value == null) return NONE;
  if (value < 60) return t("seconds", { n: number(value, value < 10 ? 1 : 0) });
  const first = UNITS.findIndex(([, length]) => value >= length);
  const [[large, length], [small, part]] = UNITS.slice(first, first + 2);
  const rest = Math.floor((value % length) / part);
  return t(large, { n: Math.floor(value / length) }) + (rest ? ` ${t(small, { n: rest })}` : "");
}

// Bytes, in powers of 1,000.
export function bytes(value) {
  if (value == null) return NONE;
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(value || 1) / 3)));
  return `${number(value / 1000 ** power)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

// Bits per second.
export function bitrate(value) {
  if (value == null) return NONE;
  return value < 1e6 ? `${number(value / 1e3, 0)} kbit/s` : `${number(value / 1e6, 2)} Mbit/s`;
}

// Dollars to three digits that count: videos cost less than cents.
export const dollars = (value) => (value == null ? NONE : `$${value.toPrecision(3)}`);

const sameDay = (date) => date.toDateString() === new Date().toDateString();

// A Unix time: of the day, with the date where it is not today's.
export function moment(value) {
  if (value == null) return NONE;
  const date = new Date(value * 1000);
  const time = date.toLocaleTimeString(locale.value);
  return sameDay(date) ? time : `${date.toLocaleDateString(locale.value)} ${time}`;
}

// Hours and minutes of a Unix time.
export const minute = (value) => new Date(value * 1000).toLocaleTimeString(locale.value, { hour: "numeric", minute: "2-digit" });

// The name of an object: the last part of its URI.
export const nameOf = (uri) => (uri ?? "").replace(/\/$/, "").split("/").pop() || uri || NONE;
export const shortId = (id) => (id ?? "").slice(0, 8);
