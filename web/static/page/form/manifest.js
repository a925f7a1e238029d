// Lists of inputs in text files: a URI a line, a column of a CSV file, or a field of each line of JSON. Pure.

const URI = /^s3:\/\/[^/]+\/.+/;
const TEXT = /\.(txt|csv|tsv|jsonl|ndjson|lst|list|manifest)$/i;

// Whether a dropped file is a list rather than a film.
export const isList = (file) => TEXT.test(file.name) || /^(text\/|application\/(json|x-ndjson))/.test(file.type);

// The lines of a manifest: those with a URI. Lines that have none are kept as they are, for the API to report; the first
// line of a CSV file is left out where it is a heading.
export function uris(name, text) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/).map((line) => line.trim()).filter(Boolean);
  if (/\.(jsonl|ndjson)$/i.test(name)) return lines.map(ofJson);
  if (!/\.(csv|tsv)$/i.test(name)) return lines;
  const separator = /\.tsv$/i.test(name) ? "\t" : separatorOf(lines[0] ?? "");
  const rows = lines.map((line) => cells(line, separator));
  const named = rows.map((row) => row.find((cell) => URI.test(cell)));
  return named.map((uri, n) => uri ?? lines[n]).filter((_, n) => named[n] || n > 0 || rows.length === 1);
}

function ofJson(line) {
  let value;
  try { value = JSON.parse(line); } catch { return line; }
  if (typeof value === "string") return value;
  return Object.values(value ?? {}).find((each) => typeof each === "string" && URI.test(each)) ?? line;
}

const separatorOf = (line) => [",", ";", "\t"].reduce((best, each) => (line.split(each).length > line.split(best).length ? each : best));

// The cells of a line; quotation marks hold separators, and are doubled inside.
function cells(line, separator) {
  const out = [""];
  let isQuoted = false;
  for (let n = 0; n < line.length; n++) {
    const sign = line[n];
    if (isQuoted && sign === '"' && line[n + 1] === '"') { out[out.length - 1] += sign; n++; }
    else if (sign === '"') isQuoted = !isQuoted;
    else if (sign === separator && !isQuoted) out.push("");
    else out[out.length - 1] += sign;
  }
  return out.map((cell) => cell.trim());
}
