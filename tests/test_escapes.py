"""What a file says is shown harmlessly: in a terminal, Markdown, a spreadsheet, a page, a picture, a CI log."""

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from result_files import document, entry, save, stats

import numbasgd.cli
from numbasgd.compare.reading import read
from numbasgd.json_values import all_printable, printable
from numbasgd.render.escapes import code, for_csv, for_github, for_html, for_markdown, for_picture
from numbasgd.render.tables import Table, render

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b]0;owned\x07\x1b[2J",
    "a\u202eb\u200bc\x9b31m\r\n\ud800",
    "=HYPERLINK(\"http://x\",\"y\")",
    "+1", "-2+3", "@SUM(A1)", "\t=1", "\uff1d1",
    "[x](javascript:alert(1)) ![y](http://z) [f]: http://u",
    "`a` | b || *c* __d__ ~~e~~ @someone #12 &lt; \\",
    r"$\frac$ $x$ \alpha",
    "::error file=a::b",
    "%0A::error::x",
)  # fmt: skip


def nasty(scale):
    cases = [entry(name, stats(scale * 1e-3), fullname=name, group=name) for name in NAMES]
    content = document(cases)
    content["benchmarks"].append(entry("\x1b[31mleft out", {"median": None}))
    machine = content["machine_info"]["numbasgd"]
    machine["cpu"]["model"] = NAMES[2]
    machine["versions"]["\x1b[1m"] = NAMES[3] + str(scale)
    return content


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_every_output_of_nasty_names(tmp_path, capsys, monkeypatch, form):
    a, b = (save(tmp_path, f"{name}\x1b[31m.json", nasty(scale)) for name, scale in (("a", 1), ("b", 4)))
    page, picture = str(tmp_path / "p.html"), str(tmp_path / "p.png")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    drawn = ["--html", page, "--plot", picture] if form == "table" else []
    options = ["--fail-if-slower", "10", "--baseline", a, *drawn]
    assert numbasgd.cli.main(["compare", a, b, "--format", form, *options]) == 1
    out, err = capsys.readouterr()
    for text in (out, err):
        assert all(line.isprintable() for line in text.split("\n")), "no control, format or surrogate"
    commands = [line for line in err.split("\n") if line.startswith("::")]
    assert len(commands) == len(NAMES) and all(line.startswith("::error title=Slower") for line in commands)
    if form == "table":
        html = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert "<script>alert" not in html and "<img" not in html
    if form == "csv":
        for row in csv.reader(io.StringIO(out)):
            for cell in row:
                assert cell[:1] not in ("=", "+", "@", "\uff1d")
                assert cell[:1] != "-" or float(cell) <= 0
    if form == "md":
        assert "<script" not in out and "@someone" not in out and "[x](" not in out


def test_an_error_is_one_line_too(tmp_path, capsys):
    bad = save(tmp_path, "a\x1b[31m\nb.json", {"benchmarks": [entry("\x1b[2J", {"median": 0})]})
    assert numbasgd.cli.main(["compare", bad, bad + "\x07"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    assert r"\x1b[2J" in lines[0]


def test_a_name_keeps_its_letters(tmp_path):
    usual = ("test_a[x-1]", "BM_f<int>/8", "Größe", "日本", "a b")
    found = read(
        save(tmp_path, "a.json", document([entry(n, stats(1.0), fullname=n) for n in usual], machine=None))
    )
    assert [case.id for case in found.cases] == list(usual)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("matmul[full-f32-256-one]", "matmul[full-f32-256-one]"),
        ("test_a__b", r"test_a\_\_b"),
        ("_x_", r"\_x\_"),
        ("[a](b)", r"[a\](b)"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("@me #1", "&#64;me &#35;1"),
        ("a|b", r"a\|b"),
    ],
)
def test_markdown(text, shown):
    assert for_markdown(text) == shown


def test_markdown_of_our_own_stays():
    assert render(Table(("a",), ((code("x|`y"),),)), "md").splitlines()[2] == r"| `x\|'y` |"


def test_csv_numbers_stay_numbers():
    assert render(Table(("=a", "b"), (("-x", -1.5), ("-", 2))), "csv") == "=a,b\n'-x,-1.5\n'-,2\n"


@given(st.text())
@example("".join(NAMES))
def test_no_text_gets_out(text):
    for shown in (
        for_html(text),
        for_markdown(text),
        for_csv(text),
        for_picture(text),
        for_github(text),
        code(text),
    ):
        assert shown.isprintable()
    assert not re.search(r"[<>\"]", for_html(text)) and not re.search("[<>@]", for_markdown(text))
    assert not re.search(r"(?<!\\)\$", for_picture(text))
    assert not re.search("%(?!25)", for_github(text))
    assert not for_csv(text).startswith(("=", "+", "-", "@"))


@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_a_block_is_printable_all_through(block):
    def texts(value):
        if isinstance(value, dict):
            return [*value, *(text for item in value.values() for text in texts(item))]
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [value] if isinstance(value, str) else []

    assert all(text.isprintable() for text in texts(all_printable(block)))
    assert printable("a") == "a"
