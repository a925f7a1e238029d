// Files that are dropped on the form or chosen: films are sent to S3, lists become the inputs of a batch.
import { change, draft, set } from "./draft.js";
import { isList, uris } from "./manifest.js";
import { abandon, interrupted, upload, uploads } from "./uploads.js";
import { bytes, percent } from "../format.js";
import { attempt, fault, say } from "../notices.js";
import { words } from "../words.js";
import { html, useState } from "../../vendor/libraries.js";

const t = words({
  drop: ["Drop films or a list of inputs here, or", "将影片或输入列表拖放到此处，或"],
  choose: ["choose files", "选择文件"],
  lists: ["Films go straight to S3. A list is a text file with a URI per line, CSV or JSONL.", "影片直接上传到 S3。列表可为每行一个 URI 的文本、CSV 或 JSONL。"],
  running: ["sending", "上传中"],
  waiting: ["waiting for the connection", "等待连接恢复"],
  failed: ["failed", "失败"],
  finished: ["sent", "已上传"],
  goOn: ["Go on", "继续"],
  stop: ["Stop and remove: {name}", "停止并移除：{name}"],
  upload: ["Upload …", "上传……"],
  uploadTo: ["Upload a file as {name}", "上传文件作为 {name}"],
  progress: ["Upload of {name}", "{name} 的上传"],
  interrupted: ["Interrupted: {names}. Choose the same file again to go on where it stopped.", "已中断：{names}。再次选择同一文件即可从中断处继续。"],
  listed: ["{n} inputs from {name}", "来自 {name} 的 {n} 个输入"],
});
const MOST_INPUTS = 1000;
const MOST_BYTES = 64_000_000;

// A place to drop files, and what becomes of them. `userID` is whose uploads they are.
export function Files({ userID, children }) {
  const [isOver, setOver] = useState(false);
  const over = (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); setOver(true); } };
  const drop = (event) => { event.preventDefault(); setOver(false); take([...event.dataTransfer.files], userID); };
  const left = (event) => { if (!event.currentTarget.contains(event.relatedTarget)) setOver(false); };
  const names = interrupted(userID);
  return html`
    <div class=${`drop ${isOver ? "over" : ""}`} onDragOver=${over} onDragLeave=${left} onDrop=${drop}>
      <p class="drop-here">${t("drop")} <${Chooser} label=${t("choose")} many take=${(files) => take(files, userID)} />
        <span class="quiet">${t("lists")}</span></p>
      ${names.length > 0 && html`<p class="quiet">${t("interrupted", { names: names.join(", ") })}</p>`}
      <ul class="uploads">${uploads.value.map((each) => html`<${Upload} key=${each.id} upload=${each} />`)}</ul>
      ${children}
    </div>`;
}

function Upload({ upload: { id, file, userID, sent, state, error, uri } }) {
  return html`
    <li><span class="wide">${file.name}</span> <progress max=${file.size || 1} value=${sent} aria-label=${t("progress", { name: file.name })}></progress>
      <span class="quiet">${percent((100 * sent) / (file.size || 1))} ${bytes(file.size)} · ${t(state)}</span>
      ${state === "failed" && html`<span class="fault" role="alert">${error.message}</span> <button type="button" onClick=${() => film(file, userID, target(file))}>${t("goOn")}</button>`}
      <button type="button" class="plain" aria-label=${t("stop", { name: file.name })} onClick=${() => attempt(() => abandon({ id, file, userID, uri }))}>×</button></li>`;
}

// A button that opens the browser's choice of files.
function Chooser({ label, name = label, many, take: taken }) {
  const choose = ({ target: input }) => { taken([...input.files]); input.value = ""; };
  return html`<label class="button">${label}<input type="file" class="unseen" aria-label=${name} multiple=${many} onChange=${choose} /></label>`;
}

// What stands beside a field for an object in S3: a button that uploads a file for it.
export const uploader = (userID) => (node, path) => node.kind === "text" && node.format === "s3-object"
  && html`<${Chooser} label=${t("upload")} name=${t("uploadTo", { name: path.at(-1) })} take=${([file]) => file && film(file, userID, path)} />`;

const targets = new WeakMap();
const target = (file) => targets.get(file);

function take(files, userID) {
  const lists = files.filter(isList);
  const films = files.filter((file) => !isList(file));
  for (const file of lists) attempt(() => list(file, userID));
  const isMany = films.length > 1 || draft.value.kind === "batch";
  if (films.length && isMany) change({ kind: "batch", source: "inputs" });
  films.reduce((before, file) => before.then(() => film(file, userID, isMany ? ["inputs"] : ["input"])), Promise.resolve());
}

// Sends a film; its URI becomes the value at a path, or one more of the inputs.
async function film(file, userID, path) {
  targets.set(file, path);
  try {
    const uri = await upload(file, userID);
    set(path, path[0] === "inputs" ? [...(draft.value.values.inputs ?? []), uri] : uri);
    if (!draft.value.values.output) set(["output"], `${uri.slice(0, uri.indexOf("/", 5))}/outputs/${userID}/`);
  } catch (error) {
    if (error.name !== "AbortError") fault(error);
  }
}

// Few inputs go into the body; a long list is uploaded as a manifest.
async function list(file, userID) {
  change({ kind: "batch" });
  if (file.size > MOST_BYTES) return manifest(file, userID);
  const inputs = uris(file.name, await file.text());
  say(t("listed", { n: inputs.length, name: file.name }));
  if (inputs.length > MOST_INPUTS) return manifest(new File([inputs.join("\n")], file.name, { lastModified: file.lastModified }), userID);
  change({ source: "inputs" });
  return set(["inputs"], inputs);
}

async function manifest(file, userID) {
  change({ source: "manifest" });
  await film(file, userID, ["manifest"]);
}
