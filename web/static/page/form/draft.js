// What the user is about to send: one draft for each kind of work, which stays while the page is open.
import { read } from "./schema.js";
import { fitted, put } from "./values.js";
import { signal } from "../../vendor/libraries.js";

// The requests by kind. `suits` says which presets go with it, `main` which parts of a profile it begins with; `plans` whether
// the API can plan it.
export const KINDS = {
  transcode: { path: "/v1/jobs", schema: "JobRequest", plans: true, main: ["ffmpeg", "audio"], suits: (profile) => !profile.package && Boolean(profile.ffmpeg ?? profile.audio) },
  package: { path: "/v1/jobs", schema: "JobRequest", plans: true, main: ["package"], suits: (profile) => Boolean(profile.package) },
  score: { path: "/v1/vmaf", schema: "VmafRequest", main: ["vmaf"], suits: (profile) => isScore(profile) },
  batch: { path: "/v1/batches", schema: "BatchRequest", main: ["ffmpeg", "package", "audio"], suits: (profile) => !isScore(profile) },
};
const isScore = (profile) => Boolean(profile.vmaf) && !profile.ffmpeg && !profile.package;

// Fields to begin with; what a schema requires is always among them.
export const MAIN = {
  "/profile/ffmpeg": ["codec", "scale", "bitrate", "quality"],
  "/profile/package": ["formats", "ladder"],
  "/profile/vmaf": ["scale", "model"],
  "/profile/audio": ["codec", "bitrate"],
};
const FIRST_PRESETS = { transcode: "web-1080p", package: "hls", score: "vmaf-1080p", batch: "web-1080p" };
const SOURCES = ["manifest", "inputs", "prefix"];
const OLD_NAMES = ["batchInputs"]; // the first generation's name of `inputs`

// `values` are those of all kinds; `profiles` and `presets` go by kind. A preset of null means an own profile.
export const draft = signal({ kind: "transcode", values: {}, profiles: {}, presets: {}, source: "manifest" });

export const change = (changes) => { draft.value = { ...draft.value, ...changes }; };

// Sets one value of the body; those of the profile belong to the kind.
export function set([name, ...rest], given) {
  const { kind, values, profiles } = draft.value;
  if (name === "profile") change({ profiles: { ...profiles, [kind]: put(profiles[kind] ?? {}, rest, given) } });
  else change({ values: put(values, [name, ...rest], given) });
}

export const choosePreset = (name) => change({ presets: { ...draft.value.presets, [draft.value.kind]: name } });

// Begins a profile of one's own with that of a preset.
export function own(profile) {
  const { kind, profiles } = draft.value;
  change({ profiles: { ...profiles, [kind]: profile } });
  choosePreset(null);
}

// The name of the preset in use, null for an own profile. `presets` are those that suit the kind.
export function presetOf({ kind, presets: chosen }, presets) {
  if (chosen[kind] !== undefined) return chosen[kind];
  return (presets.find(({ name }) => name === FIRST_PRESETS[kind]) ?? presets[0])?.name ?? null;
}

export function nodeOf(document, kind) {
  const node = read(document, document.components.schemas[KINDS[kind].schema]);
  return { ...node, fields: node.fields.filter(({ name }) => !OLD_NAMES.includes(name)) };
}

// The body that the draft stands for.
export function bodyOf({ kind, values, profiles, source }, node, preset, others) {
  const chosen = Object.fromEntries(Object.entries(values).filter(([name]) => name === source || !others.includes(name)));
  return fitted(node, { ...chosen, profile: preset ? { preset } : profiles[kind] ?? {} });
}

export const mainOf = (kind) => (pointer) => (pointer === "/profile" ? KINDS[kind].main : MAIN[pointer]);

// Takes what an address names: `kind`, `preset`, and values such as `input`.
export function begin({ kind, preset, ...given }, presets, document) {
  const profile = presets.find(({ name }) => name === preset)?.profile;
  const fitting = Object.keys(KINDS).find((each) => profile && KINDS[each].suits(profile));
  const to = Object.hasOwn(KINDS, kind ?? "") ? kind : fitting ?? draft.value.kind;
  const fields = nodeOf(document, to).fields.filter(({ name }) => name !== "profile" && name in given);
  const values = Object.fromEntries(fields.map(({ name, node }) => [name, meant(node, given[name])]));
  const source = SOURCES.find((name) => name in values) ?? draft.value.source;
  change({ kind: to, source, values: { ...draft.value.values, ...values }, presets: profile ? { ...draft.value.presets, [to]: preset } : draft.value.presets });
}

// The value that a text of an address stands for.
function meant(node, text) {
  if (node.kind === "number") return Number(text);
  if (node.kind === "list") return text.split("\n");
  return node.kind === "choice" ? node.values.find((each) => String(each) === text) : text;
}
