// The value that a form builds, by paths into it, and where faults of the API belong in it. Pure.
// A path is an array of names and positions; a pointer is its text, as RFC 6901 writes it.

export const pointerOf = (path) => path.map((part) => `/${String(part).replace(/~/g, "~0").replace(/\//g, "~1")}`).join("");
export const pathOf = (pointer) => pointer.split("/").slice(1).map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));

export const at = (value, path) => path.reduce((part, name) => part?.[name], value);

// The value with another one at a path; without the path's last name where `given` is undefined.
export function put(value, [name, ...rest], given) {
  if (name === undefined) return given;
  const changed = Array.isArray(value) ? [...value] : { ...value };
  const inner = put(changed[name], rest, given);
  if (inner === undefined && !Array.isArray(changed)) delete changed[name];
  else changed[name] = inner;
  return changed;
}

// The part of a value that a node has fields for.
export function fitted(node, value) {
  if (node.kind !== "group" || typeof value !== "object" || value === null) return value;
  const entries = node.fields.filter(({ name }) => value[name] !== undefined).map(({ name, node: inner }) => [name, fitted(inner, value[name])]);
  return Object.fromEntries(entries);
}

// The pointer of the field that a fault belongs to, and the number of the entry in its list; null where no field shows it.
export function fieldOf(node, pointer) {
  let current = node;
  const path = [];
  for (const part of pathOf(pointer)) {
    if (current.kind === "either") current = current.other;
    if (current.kind === "group") {
      const field = current.fields.find(({ name }) => name === part);
      if (!field) return path.length ? { pointer: pointerOf(path) } : null;
      current = field.node;
    } else if (current.kind === "list") {
      if (current.item.kind !== "group") return { pointer: pointerOf(path), entry: Number(part) + 1 };
      current = current.item;
    } else {
      break;
    }
    path.push(part);
  }
  return path.length ? { pointer: pointerOf(path) } : null;
}

// Faults of a problem by the pointer of their field: { fields: Map of pointers to texts, others: [texts] }.
export function sorted(node, faults) {
  const fields = new Map();
  const others = [];
  for (const { pointer, detail } of faults) {
    const field = fieldOf(node, pointer);
    const exact = field && (field.pointer === pointer || field.entry);
    const text = exact ? (field.entry ? `${field.entry}: ${detail}` : detail) : `${pointer} ${detail}`.trim();
    if (field) fields.set(field.pointer, [...(fields.get(field.pointer) ?? []), text]); else others.push(text);
  }
  return { fields, others };
}

// Faults without those at a path, below it, or of what holds it: the user has changed these.
export function without(faults, path) {
  const changed = pointerOf(path);
  return new Map([...faults].filter(([pointer]) => pointer !== changed && !pointer.startsWith(`${changed}/`)));
}

// "codec h264, scale 1080p, quality crf 21": the leaves of a value in one line.
export function summary(value) {
  if (Array.isArray(value)) return value.map((each) => (typeof each === "object" ? `(${summary(each)})` : each)).join(" ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value).map(([name, inner]) => `${name} ${summary(inner)}`.trim()).join(", ");
}
