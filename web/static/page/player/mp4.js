// The bitrate over time of the pictures in an MP4 file, from its index, which is read by ranges.

const HEAD_BYTES = 16;
const MOST_INDEX = 64e6;
const MOST_STEPS = 500;
const BOXES = 64;

// [{ start, end, bitrate }] in seconds and bits per second, a second each or longer in long films; null where the file is not an
// MP4 with an index of all samples. `read(from, until)` returns the bytes of that range as an ArrayBuffer.
export async function ratesOf(read) {
  const index = await indexOf(read);
  if (!index) return null;
  for (const track of boxes(index, "trak")) {
    const media = boxes(track, "mdia")[0];
    const handler = media && boxes(media, "hdlr")[0];
    if (!handler || name(handler, 8) !== "vide") continue;
    const table = boxes(boxes(media, "minf")[0], "stbl")[0];
    return stepped(samples(boxes(table, "stts")[0], boxes(table, "stsz")[0]), timescale(boxes(media, "mdhd")[0]));
  }
  return null;
}

// A range of a link.
export const reader = (url) => async (from, until) => {
  const answer = await fetch(url, { headers: { Range: `bytes=${from}-${until - 1}` } });
  if (answer.status !== 206) throw new Error(`HTTP ${answer.status}`);
  return answer.arrayBuffer();
};

async function indexOf(read) {
  let at = 0;
  for (let n = 0; n < BOXES; n++) {
    const head = new DataView(await read(at, at + HEAD_BYTES));
    if (head.byteLength < HEAD_BYTES) return null;
    const [size, start] = head.getUint32(0) === 1 ? [Number(head.getBigUint64(8)), 16] : [head.getUint32(0), 8];
    if (name(head, 4) === "moov") return size < MOST_INDEX ? new DataView(await read(at + start, at + size)) : null;
    if (size < 8 || (n === 0 && name(head, 4) !== "ftyp")) return null;
    at += size;
  }
  return null;
}

const name = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((n) => view.getUint8(at + n)));

// The contents of the boxes of a type inside a box.
function boxes(view, type) {
  const found = [];
  for (let at = 0; view && at + 8 <= view.byteLength;) {
    const size = view.getUint32(at);
    if (size < 8 || at + size > view.byteLength) break;
    if (name(view, at + 4) === type) found.push(new DataView(view.buffer, view.byteOffset + at + 8, size - 8));
    at += size;
  }
  return found;
}

const timescale = (mdhd) => mdhd.getUint32(mdhd.getUint8(0) === 1 ? 20 : 12);

// [ticks, bytes] of each sample.
function* samples(stts, stsz) {
  const size = stsz.getUint32(4), last = stsz.getUint32(8);
  for (let entry = 0, sample = 0; entry < stts.getUint32(4); entry++) {
    const ticks = stts.getUint32(12 + 8 * entry);
    for (let n = stts.getUint32(8 + 8 * entry); n > 0 && sample < last; n--, sample++) yield [ticks, size || stsz.getUint32(12 + 4 * sample)];
  }
}

function stepped(listed, scale) {
  const all = [...listed];
  const seconds = all.reduce((sum, [ticks]) => sum + ticks, 0) / scale;
  if (!seconds) return null;
  const step = Math.max(1, Math.ceil(seconds / MOST_STEPS));
  const bytes = new Float64Array(Math.ceil(seconds / step));
  let at = 0;
  for (const [ticks, size] of all) {
    bytes[Math.min(bytes.length - 1, Math.floor(at / scale / step))] += size;
    at += ticks;
  }
  return Array.from(bytes, (sum, n) => {
    const end = Math.min(seconds, (n + 1) * step);
    return { start: n * step, end, bitrate: (8 * sum) / (end - n * step) };
  });
}
