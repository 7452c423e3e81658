// A field for an option, made out of what the server tells about it: kind, range, default, unit and help.

import { el, freshId } from "../base/dom.js";

const FINE = 200; // steps of a slider

/** The ends of the slider, or null for none: a number without an upper limit goes to four times its default. */
function rangeOf({ kind, minimum, maximum, default: usual }, value) {
  if (typeof minimum === "number" && typeof maximum === "number" && maximum > minimum)
    return { kind, minimum, maximum };
  if (kind !== "float" || typeof usual !== "number" || usual <= 0 || minimum > usual) return null;
  return { kind, minimum: minimum ?? 0, maximum: 4 * Math.max(usual, typeof value === "number" ? value : 0) };
}

/** The slider's step: 1, 2 or 5 times a power of ten, with about 200 steps over the range. */
function stepOf({ kind, minimum, maximum }) {
  if (kind === "int") return 1;
  const rough = (maximum - minimum) / FINE;
  const power = 10 ** Math.floor(Math.log10(rough));
  return Number(([5, 2, 1].find((digit) => digit * power <= rough * (1 + 1e-9)) * power).toPrecision(1));
}

/** A table, such as the values of a fit, or a list from its JSON; of other text the server says what is wrong. */
function fromJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A value as a text field shows it. */
function words(value) {
  if (Array.isArray(value) && !value.some((part) => String(part).includes(","))) return value.join(", ");
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "");
}

/** The option's value from what was typed: null stands for "as by default". */
function parsed({ kind, items }, text) {
  if (text.trim() === "") return null;
  if (kind === "list" && text.trim().startsWith("[")) return fromJson(text);
  if (kind === "list")
    return text
      .split(",")
      .map((part) => (items === "text" ? part.trim() || null : parsed({ kind: "float" }, part)))
      .filter((part) => part !== null);
  if (kind === "path" && text.trim().startsWith("{")) return fromJson(text);
  if (kind === "text" && Number.isFinite(Number(text))) return Number(text); // such as microns, or "10x"
  if (kind !== "int" && kind !== "float") return text;
  const number = Number(text);
  return Number.isFinite(number) ? number : text.trim(); // the server says what is wrong with words
}

function numberField(option, value, onChange) {
  const number = el("input", {
    type: "text",
    inputmode: "decimal",
    value: value ?? "",
    placeholder: option.default ?? "",
    class: "number",
  });
  const range = rangeOf(option, value);
  if (!range) {
    number.addEventListener("change", () => onChange(parsed(option, number.value)));
    return [number, number];
  }
  const slider = el("input", {
    type: "range",
    min: range.minimum,
    max: range.maximum,
    step: stepOf(range),
    value: value ?? option.default ?? range.minimum,
    "aria-label": option.name,
  });
  slider.addEventListener("input", () => {
    number.value = slider.value;
    onChange(Number(slider.value));
  });
  number.addEventListener("change", () => {
    const typed = parsed(option, number.value);
    slider.value = typed ?? option.default ?? range.minimum;
    onChange(typed);
  });
  return [el("div", { class: "slider" }, slider, number), number];
}

function choiceField(option, value, onChange) {
  const none = option.default === null ? el("option", { value: "" }, "–") : null;
  const select = el(
    "select",
    {},
    none,
    option.choices.map((choice) => el("option", { value: String(choice) }, String(choice))),
  );
  select.value = String(value ?? option.default ?? "");
  select.addEventListener("change", () =>
    onChange(option.choices.find((choice) => String(choice) === select.value) ?? null),
  );
  return [select, select];
}

/** Words that a text field takes besides free text, such as presets beside a path. */
function suggestions(text, choices) {
  const list = el(
    "datalist",
    { id: freshId() },
    choices.map((choice) => el("option", { value: String(choice) })),
  );
  text.setAttribute("list", list.id);
  return list;
}

function control(option, value, onChange) {
  if (option.kind === "bool") {
    const box = el("input", {
      type: "checkbox",
      checked: value ?? option.default ?? false,
      on: { change: () => onChange(box.checked) },
    });
    return [box, box];
  }
  if (option.kind === "choice") return choiceField(option, value, onChange);
  if (option.kind === "float" || option.kind === "int") return numberField(option, value, onChange);
  const text = el("input", {
    type: "text",
    value: words(value),
    placeholder: words(option.default),
    required: option.required,
    autocomplete: "off",
    spellcheck: "false",
  });
  text.addEventListener("change", () => onChange(parsed(option, text.value)));
  if (option.choices?.length) return [el("div", {}, text, suggestions(text, option.choices)), text];
  return [text, text];
}

/**
 * The field, with `path` (such as "qc.0.sigma") by which problems find it.
 *
 * `onChange` gets the value, or null for "as by default".
 */
export function optionField(option, value, path, onChange) {
  const [shown, input] = control(option, value, onChange);
  input.id = freshId();
  const problem = el("span", { class: "problem", id: `${input.id}-problem`, role: "alert" });
  const help = option.help ? el("small", { class: "help", id: `${input.id}-help` }, option.help) : null;
  input.setAttribute("aria-describedby", [help?.id, problem.id].filter(Boolean).join(" "));
  const name = option.name.replaceAll("_", " ");
  const label = el(
    "label",
    { for: input.id },
    option.unit && name.endsWith(` ${option.unit}`) ? name.slice(0, -option.unit.length - 1) : name,
    option.unit
      ? el("span", { class: "unit" }, ` ${option.unit.replace(/\bum(2?)\b/, (_, squared) => (squared ? "µm²" : "µm"))}`)
      : null,
  );
  const parts = option.kind === "bool" ? [el("div", { class: "check" }, shown, label)] : [label, shown];
  const field = el("div", { class: "field", "data-path": path }, parts, help, problem);
  field.complain = (text) => {
    problem.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  return field;
}
