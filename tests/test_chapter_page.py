"""The chapter's page: whole by itself, in two languages, readable without colour, mouse, or network."""

import json
import re
import string
from html.parser import HTMLParser

import pytest
from chapter_results import MACHINE, curve, results
from conftest import says

from numbasgd import cli
from numbasgd.experiments import everything
from numbasgd.machine.deadline import Deadline
from numbasgd.matmul.rungs import RUNGS
from numbasgd.render.chapter_page import chapter_page, findings, memory, valley
from numbasgd.render.chapter_page.sources import MOST, source_of
from numbasgd.render.chapter_page.svg import Panel, Scale, short
from numbasgd.render.chapter_page.words import LANGUAGES, Words, every_word

FIGURES = (
    *("ladder", "roofline", "memory", "noise", "curves", "valley"),
    *("vary", "divided", "replacement", "twice"),
)
VOID = ("meta", "input")
PAGES = {lang: chapter_page(results(), lang) for lang in LANGUAGES}


class Page(HTMLParser):
    """Elements with their attributes and what encloses them; complains of what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes), tuple(tag for tag, _ in self._open)))
        if name not in VOID:
            self._open.append((name, dict(attributes)))

    def handle_endtag(self, name):
        if name not in VOID:
            assert self._open.pop()[0] == name

    def handle_data(self, text):
        self.words.append(text)

    def named(self, name):
        return [attributes for tag, attributes, _ in self.elements if tag == name]


@pytest.fixture(scope="module", params=LANGUAGES)
def page(request):
    return Page(PAGES[request.param])


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_text_is_there_in_both_languages_and_names_the_same_values():
    for key, texts in every_word().items():
        assert set(texts) == set(LANGUAGES), key
        assert all(texts.values()), key
        assert fields(texts["en"]) == fields(texts["zh"]), key


def test_every_text_is_used(monkeypatch):
    used, plain = set(), Words.__call__

    def recorded(self, key, **values):
        used.add(key)
        return plain(self, key, **values)

    monkeypatch.setattr(Words, "__call__", recorded)
    for change in (as_they_are, as_they_seldom_are):
        found = results()
        change(found)
        chapter_page(found)
    assert used == set(every_word())


def as_they_are(found):
    pass


def as_they_seldom_are(found):
    """Results that change what the page says of them."""
    by_name = {rung["name"]: rung["speeds"][0] for rung in found["ladder"]["rungs"]}
    by_name["numpy-blocked"]["gflops"] = 2 * by_name["numpy"]["gflops"]
    found["ladder"]["products"][0]["left_out"] = {"element": 9.0}
    found["ladder"]["machine"] = {**MACHINE, "cpu": {}, "env": {"OPENBLAS_CORETYPE": "Zen"}}
    found["roofline"]["limits"]["levels"][-1]["read"] = 0.1
    never = {"samples": None, "compiled_time": None, "interpreted_time": None}
    found["valley"]["sizes"][-1].update(never)
    found["valley"]["near"]["compiled"] = [1, 10]
    found["valley"]["best"]["compiled"] = 1
    found["valley"]["data"] = "the embedded twin of the airfoil data"
    found["large"].update(data="your arrays", best={"compiled": None, "interpreted": None})
    for size in found["large"]["sizes"]:
        size.update(never)
    exercises = found["exercises"]
    exercises["divided"] = {**exercises["divided"], "usual": curve(0.01), "changed": curve(0.02)}
    for pair in exercises["replacement"]:
        pair["changed"] = pair["usual"]


def test_chinese_is_chinese(page):
    letters = sum("\u4e00" <= letter <= "\u9fff" for letter in "".join(page.words))
    assert letters > 2000 if page.named("html")[0]["lang"] == "zh-Hans" else letters == 0


def test_it_is_one_file_that_loads_nothing(page):
    policy = page.named("meta")[-1]["content"]
    assert policy.startswith("default-src 'none'")
    for name, attributes, _ in page.elements:
        assert name not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not set(attributes) & {"src", "srcset", "action", "data"}
        assert not any(key.startswith("on") for key in attributes)
        assert attributes.get("href", "#").startswith("#")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_address_no_import_no_font_and_less_than_3_mb(lang):
    text = PAGES[lang]
    assert set(re.findall(r"https?://[^\"'<> )]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in text and "@import" not in text and "@font-face" not in text
    assert len(text.encode()) < 3e6


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in ("href", "for", "aria-labelledby", "list"):
        for _, attributes, _ in page.elements:
            for target in attributes.get(name, "").replace("#", "").split():
                assert target in ids, (name, target)


def test_every_figure_is_drawn_told_and_exported(page):
    assert [a["id"] for a in page.named("section")] == list(FIGURES)
    assert [a["data-figure"] for a in page.named("button")] == list(FIGURES)
    drawings = page.named("svg")
    assert [a["class"] for a in drawings] == ["drawing wide", "drawing narrow"] * len(FIGURES)
    for drawing in drawings:
        title, desc = drawing["aria-labelledby"].split()
        assert (title, desc) == (f"{drawing['id']}-title", f"{drawing['id']}-desc")
        assert drawing["role"] == "img" and "width" not in drawing and "viewbox" in drawing
    assert len(page.named("details")) == len(FIGURES) and len(page.named("table")) == len(FIGURES)


def test_captions_name_machine_blas_and_versions(page):
    words = "\n".join(page.words)
    for told in ("CPU One", "openblas 9.9", "Zen", "numbasgd 0.1.0", "numpy 2.4", "numba 0.68"):
        assert words.count(told) > len(FIGURES)
    assert all("CPU One" in button["data-source"] for button in page.named("button"))


def test_without_a_script_the_best_size_is_shown_and_nothing_pretends_to_work(page):
    for attributes in (*page.named("button"), *page.named("input")):
        assert "hidden" in attributes
    runs = [a for a in page.named("g") if "data-run" in a]
    assert sum(a["class"] == "run on" for a in runs) == 4, "two panels in two drawings"
    assert {a["data-run"] for a in runs if a["class"] == "run on"} == {page.named("input")[0]["value"]}


def test_series_differ_without_their_colours(page):
    """Lines of one panel have dashes of their own, and marks shapes of their own."""
    style = PAGES["en"].partition("</style>")[0]
    for dash in ("d1", "d2", "d3"):
        assert f".{dash} {{ stroke-dasharray" in style
    drawn = [a for a in page.named("path") if re.match(r"mark s\d", a.get("class", ""))]
    marks = {a["class"].split()[1]: a["d"] for a in drawn}
    assert len(set(marks.values())) == len(marks) == 4


def test_no_coordinate_is_lost(page):
    for attributes in (*page.named("path"), *page.named("text"), *page.named("rect")):
        for value in attributes.values():
            assert not re.search(r"\b(nan|inf|None)\b", str(value)), attributes


def test_what_a_file_says_stays_text():
    found = results()
    nasty = "<script>alert(1)</script>\"'"
    found["ladder"]["machine"] = {**found["ladder"]["machine"], "cpu": {"model": nasty, "cores": 2}}
    found["memory"]["notes"] = [nasty]
    found["valley"]["data"] = nasty
    text = chapter_page(found)
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert len(Page(text).named("script")) == 1


def test_a_size_that_does_not_get_there_is_told():
    found = results()
    last = found["valley"]["sizes"][-1]
    last.update(samples=None, compiled_time=None, interpreted_time=None)
    words = "".join(Page(chapter_page(found)).words)
    assert "b = 1,500 does not get there" in words and "did not get to the target" in words


def test_sizes_near_the_best_are_told_once():
    found = results()["valley"]
    only = found["sizes"][0]
    b = only["batch_size"]
    found.update(sizes=[only], best={"compiled": b, "interpreted": None}, near={"compiled": [b]})
    assert valley._verdict(found, "Data", Words("en")) == f"Data: b = {b} wins."


def test_why_a_load_at_random_takes_longer_than_the_latency_is_told():
    found = results()["memory"]
    assert "27.0 ns is address translation" in memory.figure(found, Words("en")).see[-1]
    found["limits"]["levels"][-1]["latency"] = 25.0
    assert not any("address translation" in line for line in memory.figure(found, Words("en")).see)


def test_the_words_follow_the_figures():
    plain = chapter_page(results())
    assert "slower than one call" in plain and "more than the peak of 200" in plain
    found = results()
    as_they_seldom_are(found)
    changed = chapter_page(found)
    assert "faster than one call here" in changed and "less than the peak of 200" in changed
    assert "no batch size got to the target" in changed and "OPENBLAS_CORETYPE is set" in changed


@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_shows_its_own_source(rung):
    source = source_of(rung)
    assert 2 <= len(source.splitlines()) <= MOST
    assert '"""' not in source


def test_a_rung_that_the_page_has_no_words_for_has_its_own():
    found = results()
    found["ladder"]["rungs"][0].update(name="new", idea="a new idea", reason="It is new.")
    words = "".join(Page(chapter_page(found)).words)
    assert "a new idea" in words and "It is new." in words
    assert source_of("new") == ""


def test_findings_name_the_best_size():
    told = findings(results(), Words("en"))
    assert len(told) == 4 and "10 samples a step" in told[-1]


def test_results_that_lack_something_and_languages_that_there_are_not():
    with pytest.raises(ValueError) as error:
        chapter_page({name: part for name, part in results().items() if name != "noise"})
    says(error.value, "lack noise", "numbasgd chapter")
    with pytest.raises(ValueError) as error:
        chapter_page(results(), "fr")
    says(error.value, "lang is 'fr'", "'en', 'zh'")


def test_scales_and_ticks():
    scale = Scale(1, 1000, 0, 300, is_log=True)
    assert [scale(v) for v in (0.1, 1, 10, 1000, 5000)] == [0, 0, 100, 300, 300]
    assert scale.ticks(4) == [1, 10, 100, 1000] and len(scale.ticks(12)) == 10
    assert Scale(0, 1, 0, 1).ticks(5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert [short(v) for v in (0.001, 12.5, 2000, 131072, 2.5e6)] == ["0.001", "12.5", "2000", "131k", "2.5M"]
    assert Panel(scale, Scale(0, 1, 100, 0)).through([(1, 0), (1, 0), (10, 1)]) == "M0,100L100,0"


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """``numbasgd chapter`` on results that are at hand: exit code, standard output, standard error."""
    from numbasgd import experiments

    monkeypatch.setattr(cli, "COMMANDS", ("chapter",))
    monkeypatch.setattr(experiments, "everything", lambda deadline: results())
    monkeypatch.chdir(tmp_path)

    def call(*argv):
        code = cli.main(["chapter", *argv])
        return code, *capsys.readouterr()

    return call


@pytest.mark.slow
def test_the_command_measures_writes_and_tells(command, tmp_path):
    code, out, _ = command("--html", "page.html", "--lang", "zh")
    assert code == 0 and "page.html" in out and "CPU One" in out and findings(results(), Words("zh"))[-1] in out
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == PAGES["zh"]


def test_a_page_from_a_file_is_the_page_of_its_results(command, tmp_path):
    code, out, _ = command("--json")
    assert code == 0
    (tmp_path / "r.json").write_text(out)
    assert command("--from", "r.json", "--html", "page.html")[0] == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == PAGES["en"]


@pytest.mark.parametrize(
    ("content", "argv", "said"),
    [
        (None, "--from no.json", "No such file"),
        ("{", "--from r.json", "it is no JSON"),
        ('{"kind": "ladder"}', "--from r.json", "its kind is 'ladder'"),
        (json.dumps({**results(), "noise": {}}), "--from r.json", "KeyError"),
        (None, "--html page.txt", "Name it page.html"),
        (None, "--html no/page.html", "Make the folder first"),
        (None, "--lang fr", "--lang is 'fr'"),
    ],
)
def test_what_cannot_be_used_is_told(command, tmp_path, content, argv, said):
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    code, _, err = command(*argv.split())
    assert code == 2 and said in err


@pytest.mark.slow
def test_what_is_measured_fits_the_page_however_little_time_there_is():
    found = json.loads(json.dumps(everything(Deadline(0.5)), allow_nan=False))
    for lang in LANGUAGES:
        assert [a["id"] for a in Page(chapter_page(found, lang)).named("section")] == list(FIGURES)
    assert set(results()) == set(found)
    assert found["roofline"]["limits"] == found["memory"]["limits"]
