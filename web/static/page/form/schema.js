// What a form asks for: JSON Schemas of the API's OpenAPI document, read as nodes. Pure.
//
// A node has `kind`, and as far as the schema says: `title`, `description`, `initial` (the default), and
//   choice   values                          one of these words or numbers
//   number   least, most, above, whole       `above` is an exclusive least value
//   text     format, most, suggestions
//   list     item, least, most               `item` is the node of an entry
//   either   values, other                   one of the words, or something of the node `other`
//   group    fields: [{ name, node, required }], variants     an object; `variants` are the groups that it unites
//   any                                      a schema without a type

export function read(document, given) {
  const schema = deref(document, given);
  const node = { ...shape(document, schema), ...defined({ title: schema.title, description: schema.description, initial: schema.default }) };
  return schema.enum ? { ...node, kind: "choice", values: schema.enum } : node;
}

function shape(document, schema) {
  const alternatives = schema.anyOf?.filter((each) => each.type !== "null");
  if (alternatives) return united(alternatives.map((each) => read(document, each)));
  switch (schema.type) {
    case "object": return { kind: "group", fields: fields(document, schema) };
    case "array": return defined({ kind: "list", item: read(document, schema.items), least: schema.minItems, most: schema.maxItems });
    case "boolean": return { kind: "choice", values: [true, false] };
    case "integer": case "number":
      return defined({ kind: "number", least: schema.minimum, above: schema.exclusiveMinimum, most: schema.maximum, whole: schema.type === "integer" });
    case "string": return defined({ kind: "text", format: schema.format, most: schema.maxLength, suggestions: suggestions(schema.description) });
    default: return { kind: "any" };
  }
}

const fields = (document, schema) => Object.entries(schema.properties ?? {})
  .map(([name, each]) => ({ name, node: read(document, each), required: schema.required?.includes(name) ?? false }))
  .filter(({ node }) => node.kind !== "any");

// A schema, or another part of the document, behind its references.
export function deref(document, schema) {
  if (!schema.$ref) return schema;
  const { $ref, ...beside } = schema;
  const target = $ref.slice(2).split("/").reduce((part, name) => part[name], document);
  return { ...deref(document, target), ...beside };
}

// One node for alternatives. Objects become one group with the fields of all.
function united(given) {
  const nodes = [...new Map(given.map((node) => [JSON.stringify(node), node])).values()];
  const kinds = new Set(nodes.map((node) => node.kind));
  if (nodes.length === 1 || (kinds.size === 1 && !["choice", "group", "number"].includes(nodes[0].kind))) return nodes[0];
  if (kinds.size > 1) {
    const [words, others] = [nodes.filter((node) => node.kind === "choice"), nodes.filter((node) => node.kind !== "choice")];
    return words.length ? { kind: "either", values: united(words).values, other: united(others) } : others[0];
  }
  if (kinds.has("choice")) return { ...nodes[0], values: [...new Set(nodes.flatMap((node) => node.values))] };
  if (kinds.has("number")) return { ...nodes[0], least: Math.min(...nodes.map((node) => node.least)), most: Math.max(...nodes.map((node) => node.most)) };
  const names = [...new Set(nodes.flatMap((node) => node.fields.map((field) => field.name)))];
  const among = (name) => nodes.flatMap((node) => node.fields.filter((field) => field.name === name));
  return {
    ...nodes[0],
    variants: nodes.flatMap((node) => node.variants ?? [node]),
    fields: names.map((name) => ({
      name,
      node: united(among(name).map((field) => field.node)),
      required: among(name).length === nodes.length && among(name).every((field) => field.required),
    })),
  };
}

// The fields of a group that go with the words chosen in it, and those that have a value.
export function shownFields(group, value = {}) {
  if (!group.variants) return group.fields;
  const fitting = group.variants.filter((variant) => fits(variant, value));
  if (!fitting.length) return group.fields;
  return group.fields.filter(({ name }) => value[name] !== undefined || fitting.some((variant) => variant.fields.some((field) => field.name === name)));
}

const fits = (variant, value) => variant.fields.every(({ name, node }) =>
  node.kind !== "choice" || value[name] === undefined || node.values.includes(value[name]));

// The fields of which a group needs exactly one: required in some of its variants, absent in others.
export function sources(group) {
  const variants = group.variants ?? [];
  const alone = (name) => variants.every((variant) => {
    const field = variant.fields.find((each) => each.name === name);
    return !field || field.required;
  });
  return group.fields.filter(({ name, required }) => !required && alone(name)).map(({ name }) => name);
}

// The words before "or" of a text that says "One of a, b, c, or …".
const suggestions = (description) => /^One of ((?:[\w.-]+, )+)or /.exec(description ?? "")?.[1].split(", ").filter(Boolean);

const defined = (entries) => Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));
