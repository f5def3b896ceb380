"""The page's style sheet and its one script; both are written into the page."""

CSS = """
:root { --ink:#1c2430; --muted:#5b6675; --line:#e1e5ea; --page:#f6f7f9; --card:#fff;
  --accent:#2f6fde;
  --good:#1d7f4e; --bad:#b4432f; --doubt:#8a6100; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ee; --muted:#9aa5b4; --line:#2d343e;
  --page:#12151a;
  --card:#1a1f26; --accent:#78a5f5; --good:#5cc48f; --bad:#ea8a77; --doubt:#dcb35c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 1280px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 32px; padding-bottom: 8px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h1 small { display: block; font-size: 13px; font-weight: 500; color: var(--muted);
  letter-spacing: .02em; }
.lead { font-size: 17px; max-width: 78ch; margin: 0 0 12px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px;
  margin: 16px 0; min-width: 0; }
h2 { font-size: 17px; margin: 0 0 4px; }
.note { color: var(--muted); font-size: 13.5px; max-width: 120ch; margin: 0 0 12px;
  overflow-wrap: anywhere;
  white-space: pre-line; }
.figure { width: 100%; min-width: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 12px; }
.scroll { overflow: auto; max-height: 560px; border: 1px solid var(--line); border-radius: 8px; }
.scroll + .figures, .figures + .scroll { margin-top: 12px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 13.5px; }
th, td { padding: 6px 10px; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
th { position: sticky; top: 0; z-index: 1; background: var(--card);
  vertical-align: bottom; line-height: 1.3; }
th button { all: unset; cursor: pointer; font-weight: 600; color: var(--muted); }
th button:hover, th button:focus-visible { color: var(--accent); text-decoration: underline; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td.num, th.num { text-align: right; font-variant-numeric: tabular-nums; }
td.num { white-space: nowrap; }
td.text { overflow-wrap: break-word; max-width: 60ch; }
td.long { min-width: 34ch; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--card); }
th:first-child { z-index: 2; }
tr.failed td, tr.rejected td { color: var(--muted); }
tr.baseline td, tr.member td { background: color-mix(in srgb, var(--accent) 8%, var(--card)); }
.verdict { border-left: 4px solid var(--doubt); padding: 6px 12px; margin: 0 0 14px;
  max-width: 100ch;
  background: color-mix(in srgb, var(--doubt) 8%, transparent); overflow-wrap: anywhere; }
.verdict.passes { border-color: var(--good);
  background: color-mix(in srgb, var(--good) 8%, transparent); }
.verdict.fails { border-color: var(--bad);
  background: color-mix(in srgb, var(--bad) 8%, transparent); }
.empty { color: var(--muted); font-style: italic; margin: 8px 0; }
.notices { margin: 0 0 14px; padding-left: 20px; overflow-wrap: anywhere; }
.samples { display: grid; gap: 12px 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); } .samples figure { margin: 0; }
.samples img { max-width: 100%; height: auto; border-radius: 6px; display: block; }
.samples figcaption { color: var(--muted); font-size: 13px; }
footer { color: var(--muted); font-size: 13px; padding-bottom: 40px; }
.js-plotly-plot .infolayer text, .js-plotly-plot .xaxislayer-above text,
.js-plotly-plot .yaxislayer-above text { fill: var(--muted) !important; }
.js-plotly-plot .legendpoints path.scatterpts { fill: var(--muted) !important; }
.js-plotly-plot .gridlayer path { stroke: var(--line) !important; }
@media (max-width: 640px) {
  header, main, footer { padding-left: 12px; padding-right: 12px; }
  header { padding-top: 20px; } section { padding: 14px 12px; } .lead { font-size: 16px; }
  th, td { padding: 6px 9px; } td.long { min-width: 24ch; }
}
@media (hover: none), (max-width: 640px) { .js-plotly-plot .modebar { display: none; } }
@media print { section { break-inside: avoid; } nav { display: none; }
  .scroll { max-height: none; overflow: visible; } }
"""

SCRIPT = """
document.querySelectorAll("script[data-figure]").forEach(function (source) {
  var figure = JSON.parse(source.textContent);
  Plotly.newPlot(source.dataset.figure, figure.data, figure.layout,
    {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"],
     showSendToCloud: false, plotlyServerURL: "", topojsonURL: "data:,"});
});
document.addEventListener("click", function (event) {
  var head = event.target.closest && event.target.closest("th");
  if (!head) return;
  var table = head.closest("table"), body = table.tBodies[0], place = head.cellIndex;
  var up = head.getAttribute("aria-sort") !== "ascending", number = head.classList.contains("num");
  function key(row) {
    var cell = row.cells[place];
    if (!number) return cell.textContent.toLowerCase();
    return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
  }
  Array.from(body.rows).map(function (row) { return [key(row), row]; }).sort(function (a, b) {
    if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null);
    return (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (up ? 1 : -1);
  }).forEach(function (pair) { body.appendChild(pair[1]); });
  table.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
});
"""
