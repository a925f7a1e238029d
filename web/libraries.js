// The libraries that every view uses, as one module: `npm run libraries` writes static/vendor/libraries.js.
export { h, render } from "preact";
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { html } from "htm/preact";
export { batch, computed, effect, signal } from "@preact/signals";
export { Virtualizer, observeWindowOffset, observeWindowRect, windowScroll } from "@tanstack/virtual-core";
export { default as Plot } from "uplot";
