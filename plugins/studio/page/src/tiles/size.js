// The size of tiles and how regions choose them: the words of the pipeline that are not steps.

import { el, fill } from "../base/dom.js";
import { optionField } from "../pipeline/fields.js";

const TILES = [
  { name: "tile_px", kind: "int", title: "Tile width", unit: "px", help: "Pixels of a stored tile." },
  {
    name: "tile_um",
    kind: "text",
    title: "Tile width on the slide",
    unit: "µm",
    help: "Microns, or a magnification such as 10x.",
  },
  { name: "stride_div", kind: "int", title: "Stride divisor", help: "1: tiles touch; 2: they overlap by half." },
];
const ROI = [
  {
    name: "method",
    kind: "choice",
    title: "Regions",
    choices: ["auto", "inside", "outside", "ignore"],
    default: "auto",
    help: "Which side of the regions tiles are taken from; auto: inside where a slide has regions.",
  },
];

export function sizeForm(place, { events, pipeline }) {
  const field = (table, option) =>
    optionField(option, pipeline.draft[table]?.[option.name], `${table}.${option.name}`, (value) =>
      pipeline.change((draft) => {
        draft[table] ??= {};
        if (value === null) delete draft[table][option.name];
        else draft[table][option.name] = value;
      }),
    );
  events.on("draft", () =>
    fill(
      place,
      el("h3", {}, "Size and regions"),
      TILES.map((option) => field("tiles", option)),
      ROI.map((option) => field("roi", option)),
    ),
  );
}
