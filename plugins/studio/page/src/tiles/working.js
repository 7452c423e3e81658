// What the server is busy with, over the lower edge of the slide, with a way to stop it.

import { button, el, fill } from "../base/dom.js";

export function workingCard(stage, decisions, events) {
  const words = el("span");
  const bar = el("progress", { max: 1, "aria-label": "Progress" });
  const card = el(
    "div",
    { class: "working-card", hidden: true },
    words,
    bar,
    button("Cancel", () => decisions.cancel(), { class: "plain" }),
  );
  stage.append(card);
  let timer = null;
  events.on("decisions", ({ answer }) => {
    const busy = answer.state === "working";
    // A card that flashes for a tenth of a second at every step of a slider would be noise.
    clearTimeout(timer);
    if (!busy) card.hidden = true;
    else
      timer = setTimeout(
        () => {
          card.hidden = false;
        },
        card.hidden ? 250 : 0,
      );
    if (!busy) return;
    const step =
      answer.steps.find(({ state }) => state === "working") ?? answer.steps.find(({ state }) => state === "waiting");
    const share = step?.share ?? null;
    fill(
      words,
      step ? `${step.title ?? step.name}${share === null ? "…" : ` ${Math.round(100 * share)} %`}` : "Deciding…",
    );
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  });
}
