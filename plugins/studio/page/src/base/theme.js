// Light or dark: as the system says, until somebody switches.

import { iconButton } from "./dom.js";
import { ICONS } from "./icons.js";

const KEY = "slideloom-studio-theme";
const DARK = matchMedia("(prefers-color-scheme: dark)");

function show(button) {
  const chosen = localStorage.getItem(KEY);
  const dark = chosen ? chosen === "dark" : DARK.matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  button.setAttribute("aria-pressed", String(dark));
}

export function themeSwitch() {
  const button = iconButton(ICONS.moon, "Dark theme", () => {
    localStorage.setItem(KEY, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    show(button);
  });
  DARK.addEventListener("change", () => show(button));
  show(button);
  return button;
}
