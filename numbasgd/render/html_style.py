"""The style sheet of a comparison's page, the mark of a machine, and the script that sorts the tables."""

from numbasgd.compare.machines import letter
from numbasgd.render.markup import Markup, tag
from numbasgd.render.palette import BLUE, FASTER_TEXT, SERIES, SLOWER_TEXT, series_colour

STYLE = """
:root { color-scheme: light dark;
  --ink: #1d2530; --soft: #5b6675; --line: #d9dfe6; --page: #fff; --band: #f5f7f9; --bar: #b9d3ea;
  --blue: BLUE;
  --faster: FASTER; --faster-back: #dcf3e8; --slower: SLOWER; --slower-back: #fbe5dc;
  --same: #1c5c99; --same-back: #e0ecf8; --unsure: #5b6675; --unsure-back: #eceff2; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e4e8ee; --soft: #9aa6b5; --line: #333d4a; --page: #151a21; --band: #1c232c; --bar: #2b4a68;
  --blue: #4aa3df;
  --faster: #6fd6a8; --faster-back: #12382a; --slower: #f5a582; --slower-back: #44221a;
  --same: #8dc1f2; --same-back: #16314c; --unsure: #a9b3c0; --unsure-back: #2a323c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1.5rem 4rem; max-width: 88rem;
  background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1, p, li, summary, td.wrap:not(:first-child) { overflow-wrap: anywhere; }
h1 { font-size: 1rem; line-height: 1.2; margin: 0 0 .3rem; color: var(--soft); font-weight: 600; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, li { max-width: 60rem; }
p.headline { font-size: 1.15rem; font-weight: 600; line-height: 1.35; margin: .2rem 0 .5rem; }
p.lead { color: var(--soft); margin: 0; }
a { color: var(--same); }
.chip { white-space: nowrap; font-weight: 600; color: var(--ink); }
.chip i { display: inline-block; width: .7em; height: .7em; border-radius: .15em; margin-right: .3em; }
.top { display: flex; flex-wrap: wrap; gap: 0 2.5rem; }
.top > * { flex: 1 1 24rem; min-width: 0; } .top > :first-child { flex: 2 1 34rem; }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .92em; }
ul.machines { list-style: none; padding: 0; margin: .5rem 0; font-size: .9rem; color: var(--soft); }
ul.machines strong { color: var(--ink); } ul.machines li { margin-bottom: .4rem; }
.blocks { display: flex; flex-wrap: wrap; gap: 0 2.5rem; }
.blocks section { min-width: 0; max-width: 100%; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.sortable td:first-child, .sortable th:first-child { position: sticky; left: 0; background: var(--page);
  white-space: normal; overflow-wrap: anywhere; min-width: 8rem; max-width: 22rem; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
.many .interval { display: none; }
tbody tr:hover { background: var(--band); }
td.n, th.n { text-align: right; }
td.first, th.first { border-left: 2px solid var(--line); }
td.wrap { white-space: normal; min-width: 10rem; } td.wrap:first-child { min-width: 2rem; }
td.best { font-weight: 700; text-decoration: underline; text-underline-offset: .2em; }
td.up { color: var(--faster); } td.down { color: var(--slower); }
tfoot td { font-weight: 600; border-bottom: 0; }
thead th[aria-sort] { text-decoration: underline; }
.sortable thead tr:last-child th { cursor: pointer; }
.bar { background: linear-gradient(var(--bar), var(--bar)) right / var(--share, 0%) 100% no-repeat; }
details { border-top: 1px solid var(--line); } details details { border: 0; margin: .4rem 0; }
summary { cursor: pointer; padding: .35rem 0; } summary .quiet { font-size: .87rem; }
.quiet { color: var(--soft); }
.verdict { display: inline-block; padding: 0 .55rem; border-radius: .6rem; font-weight: 600; }
.faster { color: var(--faster); background: var(--faster-back); }
.slower { color: var(--slower); background: var(--slower-back); }
.same { color: var(--same); background: var(--same-back); }
.unsure { color: var(--unsure); background: var(--unsure-back); font-weight: 400; }
.tally { margin: .5rem 0; } .tally .verdict { margin-right: .4rem; }
.interval svg { vertical-align: middle; }
figure { margin: 1.5rem 0 0; }
figcaption { color: var(--soft); font-size: .87rem; max-width: 60rem; }
.legend { margin: 0 0 .5rem; } .legend .chip { margin-right: 1rem; }
.panels { columns: 23rem; column-gap: 1rem; }
svg.panel { display: block; width: 100%; max-width: 30rem; height: auto; break-inside: avoid; }
svg.panel text { font-family: inherit !important; }
ul.plain { padding-left: 1.2rem; margin: .4rem 0; }
@media (max-width: 40rem) { body { padding: .8rem 1rem 3rem; } p.headline { font-size: 1.05rem; }
  th, td { padding: .2rem .4rem; } td.wrap { min-width: 4rem; }
  .blocks td, .blocks th { white-space: normal; } .interval { display: none; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } .wide { overflow: visible; } }
"""
for _name, _colour in (("BLUE", BLUE), ("FASTER", FASTER_TEXT), ("SLOWER", SLOWER_TEXT)):
    STYLE = STYLE.replace(f": {_name};", f": {_colour.lower()};")


def chip(place: int) -> Markup:
    """A side's letter beside its colour in the pictures."""
    colour = "var(--blue)" if place % len(SERIES) == 0 else series_colour(place)
    return tag("span", tag("i", style=f"background:{colour}"), letter(place), class_="chip")


# Without JavaScript the tables are as they were made; with it a click on a header sorts by that column.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => { head.tabIndex = 0; head.title = "sort by this column";
    const sort = () => { const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => { const cell = row.cells[column];
        return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value); };
      const body = table.tBodies[0];
      const order = (a, b) => typeof a !== typeof b ? (typeof a === "number" ? -1 : 1)
        : a < b ? -1 : a > b ? 1 : 0;
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(key(a), key(b)))); };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); }); });
}
"""
