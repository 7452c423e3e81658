"""How the HTML report looks, and what sorts and searches its table."""

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #4b5563; --bad: #b93c0a; --name: #00775a; --panel: #8881; }
@media (prefers-color-scheme: dark) { :root { --soft: #b4bcc8; --bad: #ff8f66; --name: #35d0a5; } }
body { font: 14px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 1200px; }
header p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
header p:first-child { color: var(--name); font-weight: 700; }
h1 { margin: 0; font-size: 1.7rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.figures div { background: var(--panel); padding: .5rem .9rem; flex: 1 1 9rem; color: var(--soft); }
.figures b { display: block; font-size: 1.4rem; color: CanvasText; }
.figures .bad b, .bad { color: var(--bad); }
.note { margin: 0 0 .6rem; font-size: 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; }
td, th { padding: .25rem .7rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
details { margin: 1rem 0; }
caption { text-align: left; font-weight: 600; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
#slides { width: 100%; }
#slides thead th { position: sticky; top: 0; background: Canvas; }
#slides td { overflow-wrap: anywhere; vertical-align: middle; }
#slides td img { width: 44px; height: 44px; object-fit: contain; vertical-align: middle; margin-right: .6rem; }
#slides .n { white-space: nowrap; }
#slides button { all: unset; cursor: pointer; color: var(--soft); }
#slides button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
input { font: inherit; padding: .15rem .4rem; }
i { display: inline-block; width: .75em; height: .75em; margin-right: .45em; }
.line { display: inline-block; width: auto; margin-right: .45em; vertical-align: middle; }
.slide { border-top: 1px solid var(--line); }
.slide > p { margin: 0 0 .6rem; color: var(--soft); overflow-wrap: anywhere; }
.slide > div { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.slide ul { padding-left: 1.1rem; max-width: 34rem; overflow-wrap: anywhere; }
.none { background: var(--panel); padding: 2rem; }
svg { max-width: 100%; height: auto; }
figure { margin: .8rem 0 0; }
figcaption { color: var(--soft); }
img { max-width: 100%; }
:target { scroll-margin-top: 1rem; }
"""

SCRIPT = """
const table = document.getElementById("slides"), body = table.tBodies[0];
const search = document.getElementById("search"), shown = document.getElementById("shown");
const rows = [...body.rows];
function compare(a, b) {
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, {numeric: true}) : x - y;
}
[...table.tHead.rows[0].cells].forEach((head, column) => head.addEventListener("click", () => {
  const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  rows.sort((a, b) => sign * compare(a.cells[column].dataset.v, b.cells[column].dataset.v));
  body.append(...rows);
}));
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    count += !row.hidden;
  }
  shown.textContent = words.length ? `${count} of ${rows.length}` : "";
});
"""
