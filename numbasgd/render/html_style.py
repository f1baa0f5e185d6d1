"""The style sheet of a comparison's page, and the script that sorts its tables."""

from numbasgd.render.palette import BLUE

STYLE = """
:root { color-scheme: light dark;
  --ink: #1d2530; --soft: #5b6675; --line: #d9dfe6; --page: #fff; --band: #f5f7f9; --bar: #b9d3ea;
  --blue: BLUE;
  --faster: #08704a; --faster-back: #dcf3e8; --slower: #a33414; --slower-back: #fbe5dc;
  --same: #1c5c99; --same-back: #e0ecf8; --unsure: #5b6675; --unsure-back: #eceff2; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e4e8ee; --soft: #9aa6b5; --line: #333d4a; --page: #151a21; --band: #1c232c; --bar: #2b4a68;
  --blue: #4aa3df;
  --faster: #6fd6a8; --faster-back: #12382a; --slower: #f5a582; --slower-back: #44221a;
  --same: #8dc1f2; --same-back: #16314c; --unsure: #a9b3c0; --unsure-back: #2a323c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 88rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
p, li { max-width: 48rem; }
p.lead { color: var(--soft); margin: 0; }
a { color: var(--same); }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .92em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.sortable td:first-child, .sortable th:first-child { position: sticky; left: 0; background: var(--page); }
tbody tr:hover { background: var(--band); }
td.n, th.n { text-align: right; }
td.first, th.first { border-left: 2px solid var(--line); }
td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 10rem; }
tfoot td { font-weight: 600; border-bottom: 0; }
thead th[aria-sort] { text-decoration: underline; }
.sortable thead tr:last-child th { cursor: pointer; }
.bar { background: linear-gradient(var(--bar), var(--bar)) right / var(--share, 0%) 100% no-repeat; }
.quiet { color: var(--soft); }
.verdict { display: inline-block; padding: 0 .55rem; border-radius: .6rem; font-weight: 600; }
.faster { color: var(--faster); background: var(--faster-back); }
.slower { color: var(--slower); background: var(--slower-back); }
.same { color: var(--same); background: var(--same-back); }
.unsure { color: var(--unsure); background: var(--unsure-back); font-weight: 400; }
.tally { margin: .5rem 0; } .tally .verdict { margin-right: .4rem; }
svg { max-width: 100%; height: auto; }
svg.interval { vertical-align: middle; max-width: none; }
.figure { color: var(--ink); max-width: 60rem; }
ul.plain { padding-left: 1.2rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } .wide { overflow: visible; } }
""".replace("BLUE", BLUE.lower())

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
