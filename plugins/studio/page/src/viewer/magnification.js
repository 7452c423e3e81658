// Buttons for the magnifications of objectives, and the magnification on screen.

import { button, el, iconButton } from "../base/dom.js";
import { ICONS } from "../base/icons.js";
import { tidy } from "./coordinates.js";

const STEPS = [40, 20, 10, 5, 2.5, 1];

export function magnifications(viewer, events) {
  const buttons = STEPS.map((times) => [
    times,
    button(`${times}×`, () => viewer.magnify(times), { "aria-label": `Magnification ${times}`, disabled: true }),
  ]);
  const now = el("output", { class: "magnification", "aria-label": "Magnification on screen" });
  const fit = iconButton(ICONS.fit, "Whole slide (0)", () => viewer.slide && viewer.fit());
  events.on("moving", () => {
    const times = viewer.magnification;
    now.textContent = times ? `${tidy(times)}×` : `1 : ${tidy(viewer.resolution)}`;
    for (const [step, element] of buttons) {
      element.disabled = !times;
      element.title = times ? "" : "This slide has no microns per pixel; give it with --mpp.";
      element.setAttribute("aria-pressed", String(times !== null && Math.abs(times / step - 1) < 0.01));
    }
  });
  return el(
    "div",
    { class: "group magnifications", role: "group", "aria-label": "Magnification" },
    now,
    fit,
    buttons.map(([, element]) => element),
  );
}
