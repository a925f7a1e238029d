// Reads a package with hls-parser and mpd-parser, and prints what they read as JSON. Any error or warning fails.
const fs = require("fs");
const path = require("path");
const hls = require("hls-parser");
const mpd = require("mpd-parser");

const folder = process.argv[2];
hls.setOptions({ strictMode: true });
const read = (name) => fs.readFileSync(path.join(folder, name), "utf8");
const found = { playlists: {}, dash: null };
if (fs.existsSync(path.join(folder, "master.m3u8"))) {
  const master = hls.parse(read("master.m3u8"));
  const renditions = master.variants.flatMap((variant) => [...variant.audio, ...variant.subtitles]);
  for (const { uri } of [...master.variants, ...renditions]) {
    found.playlists[uri] = hls.parse(read(uri)).segments.map((segment) => segment.duration);
  }
}
if (fs.existsSync(path.join(folder, "manifest.mpd"))) {
  const warnings = [];
  const eventHandler = ({ type, message }) => type === "warn" && warnings.push(message);
  const parsed = mpd.parse(read("manifest.mpd"), { manifestUri: "https://example.com/manifest.mpd", eventHandler });
  if (warnings.length) throw new Error(warnings.join("; "));
  const groups = Object.values(parsed.mediaGroups.AUDIO).flatMap((group) => Object.values(group));
  found.dash = { duration: parsed.duration, video: parsed.playlists.length, audio: groups.length };
}
process.stdout.write(JSON.stringify(found));
