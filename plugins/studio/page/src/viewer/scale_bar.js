// A bar of a round length, by the slide's microns per pixel.

import { el } from "../base/dom.js";
import { lengthText } from "./coordinates.js";

const LONGEST = 160; // screen pixels

/** The greatest of 1, 2, 5 times a power of ten that is at most `most`. */
export function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].map((digit) => digit * power).find((length) => length <= most * (1 + 1e-9));
}

export function scaleBar(stage, events) {
  const line = el("div", { class: "line" });
  const words = el("span");
  const bar = el("div", { class: "scale-bar", role: "img" }, words, line);
  stage.append(bar);
  events.on("moving", (viewer) => {
    const perPixel = viewer.resolution * (viewer.mpp ?? 1);
    const length = roundLength(LONGEST * perPixel);
    line.style.width = `${length / perPixel}px`;
    words.textContent = viewer.mpp ? lengthText(length) : `${length} px`;
    bar.setAttribute("aria-label", `Scale bar: ${words.textContent}`);
  });
}
