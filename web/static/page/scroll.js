// A new page begins at its top. One that is gone back to, or loaded again, shows what it showed, once it is long enough again.
const PATIENCE_MS = 20_000;
const STILL_MS = 150;
const TOUCHES = ["wheel", "touchstart", "pointerdown", "keydown"];

let waiting = null;
let giveUp = () => {};

// The place is kept with the entry of the browser's history.
const keep = () => history.replaceState({ top: scrollY }, "");

function show(top) {
  giveUp();
  const until = performance.now() + PATIENCE_MS;
  let isOver = false;
  giveUp = () => { isOver = true; for (const name of TOUCHES) removeEventListener(name, giveUp); };
  for (const name of TOUCHES) addEventListener(name, giveUp, { passive: true });
  const move = () => {
    if (isOver) return;
    scrollTo(0, top);
    if (Math.abs(scrollY - top) > 1 && performance.now() < until) requestAnimationFrame(move);
    else giveUp();
  };
  move();
}

history.scrollRestoration = "manual";
addEventListener("scroll", () => { clearTimeout(waiting); waiting = setTimeout(keep, STILL_MS); }, { passive: true });
addEventListener("click", keep, { capture: true });
addEventListener("hashchange", () => { clearTimeout(waiting); show(history.state?.top ?? 0); });
show(history.state?.top ?? 0);
