"""The chapter's page in a real browser: all is drawn, the slider works, nothing is loaded, nothing overlaps."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from chapter_results import results
from test_chapter_page import FIGURES

from numbasgd.render.chapter_page import chapter_page
from numbasgd.render.chapter_page.words import LANGUAGES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH: apt-get install chromium runs this"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--virtual-time-budget=4000"),
)
PROBE = (Path(__file__).parent / "chapter_probe.js").read_text()


def browse(text, folder, width=1280):
    """The page as the browser has it at the end, its console, and what the page asked a network for."""
    file = folder / "page.html"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM, *FLAGS, f"--window-size={width},1000", f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={folder / 'net.json'}", "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    log = json.loads((folder / "net.json").read_text())["events"]
    # The browser has requests of its own, which belong to no page.
    requests = [event.get("params", {}) for event in log]
    asked = [p["url"] for p in requests if str(p.get("network_isolation_key")).startswith("file:")]
    return done.stdout, re.findall("CONSOLE.*", done.stderr), [url for url in asked if url.startswith("http")]


@pytest.fixture(scope="module", params=[(lang, width) for lang in LANGUAGES for width in (1280, 400)], ids=str)
def found(request, tmp_path_factory):
    """What ``chapter_probe.js`` finds in the page, and what the browser logs."""
    lang, width = request.param
    text = chapter_page(results(), lang).replace("</body>", f"<script>{PROBE}</script></body>")
    dom, console, asked = browse(text, tmp_path_factory.mktemp("page"), width)
    told = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert told, console
    return {**json.loads(html.unescape(told[1])), "console": console, "asked": asked}


def test_the_console_is_silent(found):
    assert found["console"] == [] and found["errors"] == []


def test_nothing_is_requested_from_a_network(found):
    assert found["resources"] == [] and found["asked"] == []


def test_a_request_would_be_seen(tmp_path):
    text = '<img src="http://example.invalid/x.png"><script>none.there()</script>'
    _, console, asked = browse(text, tmp_path)
    assert "http://example.invalid/x.png" in asked and "none is not defined" in "".join(console)


def test_every_figure_is_drawn(found):
    assert list(found["figures"]) == list(FIGURES)
    for name, figure in found["figures"].items():
        assert figure["shown"] == 1, name
        assert figure["height"] > 100 and figure["marks"] > 3, name


def test_nothing_is_cut_off_or_wider_than_the_page(found):
    assert found["wide"] == []
    assert {name: figure["outside"] for name, figure in found["figures"].items() if figure["outside"]} == {}


def test_no_two_words_overlap(found):
    assert {name: figure["overlaps"] for name, figure in found["figures"].items() if figure["overlaps"]} == {}


def test_the_slider_moves_the_curves(found):
    slider = found["slider"]
    sizes = len(results()["valley"]["sizes"])
    assert len(slider) == sizes
    assert len({step["said"] for step in slider}) == sizes
    assert len({step["curves"] for step in slider}) == sizes, "another curve is on"
    for step in slider:
        assert step["on"] == 4, "two panels in two drawings"
        assert step["spoken"] == step["said"]


def test_the_keyboard_reaches_everything_that_can_be_used(found):
    assert {"a", "button", "input", "summary"} <= set(found["focusable"])
    assert found["unnamed"] == []


def test_an_exported_figure_is_an_svg_that_stands_alone(found):
    assert sorted(found["exported"]) == sorted(FIGURES)
    for name, text in found["exported"].items():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in text and "class=" not in text and "http://www.w3.org/2000/svg" in text
        words = "".join(root.itertext())
        assert "CPU One" in words and "numbasgd 0.1.0" in words, name
        assert not re.findall(r'(?:href|src)="(?!#)', text)
