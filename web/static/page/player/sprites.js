// The small pictures of a film, by its WebVTT file.

const CUE = /([\d:.]+)\s+-->\s+([\d:.]+)[^\n]*\n([^\s#]+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;
const secondsOf = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);

// [{ from, to, uri, x, y, width, height }] of a WebVTT file at a URI. Pure.
export function cuesOf(text, uri) {
  const folder = uri.slice(0, uri.lastIndexOf("/") + 1);
  return [...text.replaceAll("\r", "").matchAll(CUE)].map(([, from, to, name, ...box]) => {
    const [x, y, width, height] = box.map(Number);
    return { from: secondsOf(from), to: secondsOf(to), uri: folder + decodeURIComponent(name), x, y, width, height };
  });
}

// A function of seconds that returns the picture then, as { link, x, y, width, height }; null where the job has none. `link()`
// is that of the sheet, with { url }: it is opened when the picture is shown, as links expire.
export async function spritesOf(record, open) {
  const vtt = record.outputs?.find((each) => each.role === "sprite" && each.uri.endsWith(".vtt"));
  if (!vtt) return null;
  const answer = await fetch((await open(vtt.uri)).url);
  if (!answer.ok) throw new Error(`HTTP ${answer.status}: ${vtt.uri}`);
  const cues = cuesOf(await answer.text(), vtt.uri);
  return (seconds) => {
    const cue = cues.findLast((each) => each.from <= seconds) ?? cues[0];
    return cue && { ...cue, link: () => open(cue.uri) };
  };
}
