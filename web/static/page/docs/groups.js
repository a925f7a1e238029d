// The API's two descriptions as groups of entries. Pure.
//
// An entry is an operation of the OpenAPI document or a message of the AsyncAPI document: { id, kind, address, title, description,
// parameters, body, answers, command }, and `text`, in which people search. `kind` is a method in capitals, or "get" or "send" for
// messages that a client gets or sends. `body` and each of `answers` have { schema, examples }; examples are by name.
import { deref } from "../form/schema.js";

const ORIGIN = "$URL";

export const operationsOf = (openapi) => openapi.tags.map(({ name, description }) => ({
  id: name.toLowerCase(),
  title: name,
  description,
  entries: [...routes(openapi, openapi.paths, openapi.servers[0].url), ...routes(openapi, openapi.webhooks, "")].filter((entry) => entry.tag === name),
}));

const routes = (openapi, paths, base) => Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, each]) => searchable(each, {
    id: each.operationId,
    tag: each.tags[0],
    kind: method.toUpperCase(),
    address: base && `${base}${path}`.replace(/\/$/, ""),
    title: each.summary,
    description: each.description,
    parameters: (each.parameters ?? []).map((parameter) => deref(openapi, parameter)),
    body: content(each.requestBody),
    answers: Object.entries(each.responses).map(([status, given]) => answer(openapi, status, given)),
    command: base && commandOf(method.toUpperCase(), `${base}${path}`, each, openapi),
  })));

function answer(openapi, status, given) {
  const { description, ...rest } = deref(openapi, given);
  return { status, description, ...content(rest) };
}

function content(given) {
  const [media] = Object.values(given?.content ?? {});
  if (!media) return null;
  const examples = Object.entries(media.examples ?? {}).map(([name, { value }]) => [name, value]);
  return { schema: media.schema, examples };
}

function commandOf(method, path, operation, openapi) {
  const example = content(operation.requestBody)?.examples[0]?.[1];
  const words = ["curl", ...(method === "GET" ? [] : [`-X ${method}`]), `"${ORIGIN}${path}"`];
  if (openapi.security && !operation.security) words.push('-H "Authorization: Bearer $TOKEN"');
  if (example) words.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(example)}'`);
  return words.join(" ");
}

export const channelsOf = (asyncapi) => Object.entries(asyncapi.channels).map(([id, channel]) => ({
  id,
  title: channel.title,
  address: addressOf(asyncapi, channel),
  description: channel.description,
  parameters: parametersOf(channel),
  refusals: channel["x-refusals"],
  closes: channel["x-close-codes"],
  entries: Object.entries(channel.messages).map(([name, reference]) => {
    const message = deref(asyncapi, reference);
    return searchable(message, {
      id: name,
      kind: sentBy(asyncapi, id, name) ? "get" : "send",
      address: message.title,
      title: message.summary,
      body: { schema: message.payload, examples: (message.examples ?? []).map((each) => [each.name, each.payload]) },
    });
  }),
}));

// Whether the product sends this message of a channel, by itself or as a reply.
const sentBy = (asyncapi, channel, name) => Object.values(asyncapi.operations).some(({ action, messages, reply }) =>
  [...(action === "send" ? messages : []), ...(reply?.messages ?? [])].some(({ $ref }) => $ref === `#/channels/${channel}/messages/${name}`));

function addressOf(asyncapi, channel) {
  const { protocol, host } = deref(asyncapi, channel.servers[0]);
  return protocol === "sqs" ? `SQS ${channel.address}` : `${protocol}://${host}${channel.address}`;
}

function parametersOf({ bindings, parameters = {} }) {
  const queried = Object.entries(bindings?.ws?.query.properties ?? {}).map(([name, schema]) => ({ name, in: "query", description: schema.description, schema }));
  return [...queried, ...Object.entries(parameters).map(([name, given]) => ({ name, in: "address", schema: { type: "string" }, ...given }))];
}

const searchable = (source, entry) => ({ ...entry, text: `${entry.id} ${entry.kind} ${entry.address} ${JSON.stringify(source)}`.toLowerCase() });

// The groups with the entries that have every word of a query; without those that have none.
export function matching(groups, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return groups;
  return groups
    .map((group) => ({ ...group, entries: group.entries.filter(({ text }) => words.every((word) => text.includes(word))) }))
    .filter((group) => group.entries.length);
}
