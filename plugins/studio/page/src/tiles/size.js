// The size of tiles and how regions choose them: the options of the pipeline that are not of steps.

import { el, fill } from "../base/dom.js";
import { optionField } from "../pipeline/fields.js";

export function sizeForm(place, { events, pipeline }) {
  const field = (table, option) =>
    optionField(option, pipeline.draft[table]?.[option.name], `${table}.${option.name}`, (value) =>
      pipeline.change((draft) => {
        draft[table] ??= {};
        if (value === null) delete draft[table][option.name];
        else draft[table][option.name] = value;
      }),
    );

  function fields(table, title) {
    const options = pipeline.sizes[table];
    const more = options.filter(({ advanced }) => advanced);
    return [
      el("h3", {}, title),
      options.filter(({ advanced }) => !advanced).map((option) => field(table, option)),
      el(
        "details",
        { "data-table": table },
        el("summary", {}, "More options"),
        more.map((option) => field(table, option)),
      ),
    ];
  }

  events.on("draft", () => {
    const open = new Set([...place.querySelectorAll("details[open]")].map(({ dataset }) => dataset.table));
    // A pipeline without a folder of regions has no rules for them.
    const hasRegions = Object.keys(pipeline.draft.roi ?? {}).length > 0;
    fill(place, fields("tiles", "Size"), hasRegions ? fields("roi", "Regions") : null);
    for (const details of place.querySelectorAll("details")) details.open = open.has(details.dataset.table);
  });
}
