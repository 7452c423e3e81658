// The whole slide, small, with a frame around what is on screen; drag the frame to go elsewhere.

import { api } from "../base/api.js";
import { el, setAll } from "../base/dom.js";
import { failed } from "../base/notes.js";
import { showPicture } from "../base/pictures.js";

const LARGEST = 168; // screen pixels

export function overview(stage, viewer, events) {
  const picture = el("img", { alt: "", draggable: "false" });
  const frame = el("div", { class: "frame" });
  const box = el("div", { class: "overview", "aria-hidden": "true", hidden: true }, picture, frame);
  stage.append(box);
  let scale = 1; // screen pixels per level-0 pixel

  events.on("slide", ({ facts }) => {
    const { width, height, id } = facts;
    scale = LARGEST / Math.max(width, height);
    setAll(box, { hidden: false, style: { width: `${width * scale}px`, height: `${height * scale}px` } });
    picture.removeAttribute("src");
    // Asked for after the pixels in view, which it would delay.
    viewer.map.once("rendercomplete", () => {
      if (viewer.slide.id === id) showPicture(picture, api.thumbnail(id, LARGEST * 2)).catch(failed);
    });
  });

  events.on("moving", () => {
    const [left, bottom, right, top] = viewer.view.calculateExtent(viewer.map.getSize());
    const { width, height } = viewer.slide;
    const from = [Math.max(0, left), Math.max(0, -top)];
    const to = [Math.min(width, right), Math.min(height, -bottom)];
    setAll(frame, {
      hidden: from[0] + from[1] === 0 && to[0] === width && to[1] === height, // all of it is on screen
      style: {
        left: `${from[0] * scale}px`,
        top: `${from[1] * scale}px`,
        width: `${Math.max(4, (to[0] - from[0]) * scale)}px`,
        height: `${Math.max(4, (to[1] - from[1]) * scale)}px`,
      },
    });
  });

  const go = (event) => {
    const { left, top } = box.getBoundingClientRect();
    viewer.view.setCenter([(event.clientX - left) / scale, -(event.clientY - top) / scale]);
  };
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    go(event);
  });
  box.addEventListener("pointermove", (event) => event.buttons && go(event));
}
