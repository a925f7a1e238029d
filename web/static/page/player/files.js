// Files in a video element, by links that are renewed before they expire.
import { renewal } from "../links.js";
import { until } from "./pair.js";

// Opens a file. `hold(change)` stops both sides while a new link takes the place of the old one. `failed` gets a MediaError, or
// null where the browser finds no picture that it can decode. Returns { end }.
export function openFile(video, uri, open, hold, failed) {
  let timer = null, expires = 0, isOver = false;
  const load = async () => {
    const { url, expiresAt } = await open(uri);
    if (isOver) return;
    const at = video.currentTime;
    expires = expiresAt;
    video.src = url;
    if (at) video.currentTime = at;
    clearTimeout(timer);
    timer = setTimeout(() => hold(load).catch(console.warn), renewal(expiresAt));
    await until(video, "loadeddata", () => false);
  };
  const broken = () => {
    if (Date.now() / 1000 > expires) hold(load).catch(failed);
    else failed(video.error);
  };
  const known = () => { if (!video.videoWidth) failed(null); };
  video.addEventListener("error", broken);
  video.addEventListener("loadedmetadata", known);
  load().catch(failed);
  return {
    end() {
      isOver = true;
      clearTimeout(timer);
      video.removeEventListener("error", broken);
      video.removeEventListener("loadedmetadata", known);
      video.removeAttribute("src");
      video.load();
    },
  };
}
