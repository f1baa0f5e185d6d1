"""The page of a comparison: whole by itself, well formed, and not to be broken by what stands in a file."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from result_files import LIMITS, MACHINE, document, entry, matmul, other_machine, save, stats

from numbasgd.compare.changes import Change
from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.estimate import SAME
from numbasgd.compare.reading import read
from numbasgd.compare.summary import summarise
from numbasgd.compare.summary_words import sentences, standing_out
from numbasgd.render.html import page
from numbasgd.render.html_tables import WIDTH, _interval
from numbasgd.render.markup import join, tag
from numbasgd.render.palette import FASTER_TEXT, SLOWER_TEXT

NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a & b &lt; c",
    "</style></title>",
    "'\"`",
)


class Page(HTMLParser):
    """Tags and attributes as a browser sees them; complains of what is not closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += [(name, *pair) for pair in attributes]
        if name not in self.VOID:
            self._open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags.append(name)
        self.attributes += [(name, *pair) for pair in attributes]

    def handle_endtag(self, name):
        assert self._open.pop() == name

    def handle_data(self, text):
        self.words.append(text)


def page_of(folder, *documents, names="abcdef", **more):
    files = [read(save(folder, f"{name}.json", d)) for name, d in zip(names, documents, strict=False)]
    return page(compare(sides_of(files), **more))


def with_limits(machine=MACHINE):
    return {**machine, "limits": LIMITS}


def test_it_tells_all_that_the_tables_tell(tmp_path):
    slow = document(scale=2, machine=with_limits(other_machine()))
    text = page_of(tmp_path, document(machine=with_limits()), slow, document(), metric="time")
    words = " ".join(Page(text).words)
    for heading in ("B against A", "C against A", "2.00x slower"):
        assert words.count(heading) >= 2, heading
    for colour in ("#010203", "#0072b2", FASTER_TEXT.lower() + '"', SLOWER_TEXT.lower() + '"'):
        assert colour not in text[text.index("</style>") :], "what is drawn takes the page's colours"
    for said in (
        "CPU One", "CPU Two", "incomparable", "2.00x slower", "same", "matmul-f32-256-one", "blocked",
        "% of numpy", "% of peak", "% of roofline", "geometric mean of 4", "FMA peak, float32, one thread",
        "read from L1", "95 % interval", "two runs differ by 50 %", "Rooflines and ladders", "matmul 256",
    ):  # fmt: skip
        assert said in words or said in text, said


def test_the_first_screen_is_data(tmp_path):
    """The summary that the terminal prints, its figures, the picture; what they mean comes after them."""
    files = [document(machine=with_limits()), document(scale=2, machine=with_limits(other_machine()))]
    text = page_of(tmp_path, *files)
    order = ['class="headline"', "What the machines reach", "geometric means", "ost most on time"]
    order += ["Rooflines and ladders", "The cases", "The machines", "How to read this</h2>"]
    places = [text.index(said) for said in order]
    assert places == sorted(places)
    words = " ".join(Page(text).words)
    summary = summarise(compare(sides_of([read(tmp_path / "a.json"), read(tmp_path / "b.json")])))
    assert all(sentence in words for sentence in (*sentences(summary), *standing_out(summary)))


def test_of_three_machines_the_best_figure_is_marked(tmp_path):
    """By machine, on its own machine's column; of two machines the ratio says it."""
    fast = [matmul("full", 1e-4), matmul("numpy", 1e-3)]
    slow = [matmul("full", 1e-3), matmul("numpy", 1e-3)]
    text = page_of(tmp_path, document(slow), document(fast), document(slow))
    line = next(line for line in text.split("<tr>") if line.startswith("<td>full</td>"))
    cells = re.findall(r'<td class="([^"]*)"', line)[:3]
    assert ["best" in cell.split() for cell in cells] == [False, True, False]
    assert "best" not in page_of(tmp_path, document(slow), document(fast)).partition("</style>")[2]


def test_the_band_of_an_interval_lies_where_an_unchanged_case_would(tmp_path):
    one, two = (_band(_interval(Change(0.5, 0.4, 0.6, "time", SAME, at), 4.0, 0.05)) for at in (1.0, 0.5))
    assert one[0] < WIDTH / 2 < one[1], "on one machine at 1, in the middle"
    expected = WIDTH / 2 * (1 + math.log(0.5) / math.log(4))
    assert two[0] < expected < two[1] < WIDTH / 2, "between machines where its kind is"


def _band(svg):
    x, width = (float(re.search(rf'<rect[^>]* {key}="([^"]*)"', svg)[1]) for key in ("x", "width"))
    return x, x + width


def test_what_changed_is_open_and_what_did_not_is_folded(tmp_path):
    slow = document([matmul("full", 2e-3), matmul("full", 1e-3, n=64)], machine=MACHINE)
    text = page_of(tmp_path, document([matmul("full", 1e-3), matmul("full", 1e-3, n=64)]), slow)
    opened = text.index("<strong>matmul-f32-256-one</strong>")
    folded = text.index("<strong>matmul-f32-64-one</strong>")
    assert opened < folded
    assert text[:opened].endswith('<details open=""><summary>') and text[:folded].endswith("<details><summary>")


def test_nothing_is_wider_than_the_page(tmp_path):
    """A table scrolls by itself, and a picture takes the width that it is given."""
    text = page_of(
        tmp_path, *[document(machine=with_limits(other_machine(model=f"CPU {i}"))) for i in range(5)]
    )
    assert text.count("<table") == len(re.findall('<div class="wide"><table', text)) > 0
    drawn = re.findall("<svg [^>]*xmlns[^>]*>", text)
    assert len(drawn) > 1
    for svg in drawn:
        assert "viewBox" in svg and 'class="panel"' in svg and not re.search(r" (width|height)=", svg)
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)), "each picture has ids of its own"


def test_it_loads_nothing_and_runs_no_more_than_its_own_few_lines(tmp_path):
    text = page_of(tmp_path, document(machine=with_limits()), document(machine=with_limits(), scale=2))
    found = Page(text)
    assert "default-src 'none'" in text
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert found.tags.count("script") == 1 and found.tags.count("style") >= 1
    for name, key, value in found.attributes:
        assert key not in ("src", "srcset", "action", "data") and not key.startswith("on")
        assert key not in ("href", "xlink:href") or value.startswith("#"), (name, key, value)
    css = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in css and "@import" not in css and "prefers-color-scheme: dark" in css
    addresses = set(re.findall(r"https?://[^\"'<> ]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names, not addresses"


def test_files_without_limits_have_no_roofline_and_no_empty_columns(tmp_path):
    text = page_of(tmp_path, document(), document())
    for said in ("Rooflines", "% of peak", "measured to reach"):
        assert said not in text


def test_machines_that_do_not_differ_are_said_to(tmp_path):
    assert "no difference between the machines" in page_of(tmp_path, document(), document())


def nasty(text, scale=1.0):
    """A file with ``text`` wherever a file may have text."""
    one = matmul("full", 1e-3)
    one["name"] = f"matmul[{text}]"
    one["extra_info"].update(case=text, ladder=text, reference="numpy" + text, dtype=text, kind=text)
    two = {**entry("test_" + text, stats(1e-3)), "group": text}
    three = matmul(text, 1e-3)
    only = entry(f"only {scale}" + text, stats(1.0))
    machine = {**with_limits(other_machine(model=text + str(scale))), "env": {text: text + str(scale)}}
    machine["limits"] = {**LIMITS, "levels": [{"name": text, "bytes": None, "read": 10.0}]}
    found = document([one, two, three, only], machine=machine, scale=scale)
    found["benchmarks"].append(entry("bad" + text, {"median": None}))
    return found


def shape(text):
    found = Page(text)
    return found.tags, [(name, key) for name, key, _ in found.attributes]


def test_what_a_file_says_stays_text(tmp_path):
    text = "".join(NASTY)
    plain = page_of(tmp_path, nasty("plain"), nasty("plain", 2.0))
    got = page_of(tmp_path, nasty(text), nasty(text, 2.0))
    assert "<script>alert" not in got and "<img" not in got
    drawn = re.compile("<svg [^>]*xmlns.*?</svg>", re.DOTALL)  # long names leave room for fewer ticks
    assert shape(drawn.sub("", got)) == shape(drawn.sub("", plain))
    for a, b in zip(shape("".join(drawn.findall(got))), shape("".join(drawn.findall(plain))), strict=True):
        assert set(a) == set(b), "in a picture text is text too"


def test_a_file_name_is_text_too(tmp_path):
    text = page_of(tmp_path, document(), document(), names=("<b>a&b", "c'd"))
    assert "&lt;b&gt;a&amp;b.json" in text and "<b>" not in text


@settings(max_examples=50)
@given(st.text(), st.text(), st.text())
@example("<b>", '" onclick="', "</td>")
def test_no_text_leaves_its_element(inside, attribute, beside):
    made = tag("td", inside, tag("b", beside), class_=attribute, data_value=None)
    found = Page(made)
    assert found.tags == ["td", "b"] and [key for _, key, _ in found.attributes] == ["class"]
    assert made.isprintable()
    assert join(inside, None, tag("i")) == join(inside) + "<i></i>"


def test_odd_characters_can_be_written(tmp_path):
    text = page_of(tmp_path, nasty("\ud800\x00\x1b[31m"), nasty("\ud800\x00\x1b[31m", 2.0))
    Path(tmp_path / "out.html").write_bytes(text.encode())
    assert "\x1b" not in text and "\x00" not in text
