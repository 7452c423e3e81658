// Elements made in code. The page's content security policy forbids style attributes and inline handlers,
// and names of slides or labels may hold anything, so nothing here goes through HTML text.

/**
 * An element.
 *
 * `attributes` are set as attributes, but for `on` (listeners by event), `style` (properties set one by one, which
 * the policy allows) and properties such as `value` and `checked` that an attribute does not set later on.
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  setAll(element, attributes);
  element.append(...present(children));
  return element;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "indeterminate", "open"]);

export function setAll(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "style") {
      for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    } else if (PROPERTIES.has(name)) {
      element[name] = value;
    } else if (value === false || value === null || value === undefined) {
      element.removeAttribute(name);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: onclick, ...attributes.on } }, text);
}

export function iconButton(icon, name, onclick, attributes = {}) {
  return button(svg(icon), onclick, { "aria-label": name, title: name, class: "icon", ...attributes });
}

/** Replaces the children of `parent`. */
export function fill(parent, ...children) {
  parent.replaceChildren(...present(children));
}

/** Lists of children in lists are one list; null and false stand for a child that is not there. */
function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

const SVG = "http://www.w3.org/2000/svg";

/** An icon of one path in a 24 x 24 box, drawn with lines. */
export function svg(path) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  picture.append(line);
  return picture;
}

/** A field with its label; `help` stands under it and describes it for screen readers. */
export function labelled(text, input, { help = "", unit = "" } = {}) {
  input.id ||= freshId();
  const described = help ? el("small", { id: `${input.id}-help`, class: "help" }, help) : null;
  if (described) input.setAttribute("aria-describedby", described.id);
  return el(
    "div",
    { class: "field" },
    el("label", { for: input.id }, text, unit ? el("span", { class: "unit" }, ` ${unit}`) : null),
    input,
    described,
  );
}

let made = 0;
export function freshId() {
  made += 1;
  return `e${made}`;
}
