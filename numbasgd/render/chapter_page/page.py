"""The chapter as one page: a function of the results alone, which needs nothing but a browser.

Everything that comes from a result is escaped by ``numbasgd.render.markup``, and the page's own policy lets a
browser load nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from numbasgd.json_values import all_printable
from numbasgd.machine.fingerprint import size, warnings_for
from numbasgd.render.chapter_page import curves, exercises, ladder, memory, noise, roofline, valley
from numbasgd.render.chapter_page.figure import Figure, machine_line, percent, plain, times
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup, join, tag
from numbasgd.render.tables import number

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
PARTS = (
    "ladder",
    "roofline",
    "memory",
    "noise",
    "valley",
    "exercises",
    "seconds",
)  # of the results, that the page needs


def chapter_page(results: Mapping[str, Any], lang: str = "en") -> str:
    """The whole page from the results of ``numbasgd.experiments.everything``.

    Parameters
    ----------
    results : mapping
        What each experiment's ``to_dict()`` gives, by its name, and "seconds", those of all of it (``PARTS``);
        "large" may hold the valley of a larger problem.
    lang : {"en", "zh"}

    Raises
    ------
    ValueError
        For another language, or results that lack an experiment.
    """
    say = Words(lang)
    missing = [name for name in PARTS if name not in results]
    if missing:
        raise ValueError(
            f"results lack {', '.join(missing)}; expected {', '.join(PARTS)}. Measure all of them, as "
            "numbasgd chapter does."
        )
    results = all_printable(dict(results))
    figures = _figures(results, say)
    machine = results["ladder"]["machine"]
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", say("page.title")),
        tag("style", Markup(_file("style.css"))),
    )
    body = join(
        tag("a", say("page.skip"), href="#ladder", class_="skip"),
        tag(
            "header",
            tag("h1", say("page.title")),
            tag("p", say("page.lead"), class_="lead"),
            tag("ul", *[tag("li", line) for line in findings(results, say)], class_="findings"),
            _machine(machine, results, say),
        ),
        tag(
            "nav", tag("ol", *[_entry(letter, one) for letter, one in figures]), aria_label=say("page.contents")
        ),
        tag("main", *[one.section(letter, machine, say) for letter, one in figures]),
        tag(
            "footer",
            tag("h2", say("page.reading")),
            tag("ul", *[tag("li", line) for line in _reading(results, say)]),
        ),
        tag("script", Markup(_file("script.js"))),
    )
    language = "zh-Hans" if say.lang == "zh" else "en"
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), tag("body", body), lang=language) + "\n"


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _figures(results: Mapping[str, Any], say: Words) -> list[tuple[str, Figure]]:
    """The figures in the chapter's order, each with its letter."""
    valleys = [
        (results[name], data_name(results[name], say)) for name in ("valley", "large") if name in results
    ]
    found = [
        ladder.figure(results["ladder"], say),
        roofline.figure(results["roofline"], results["ladder"], say),
        memory.figure(results["memory"], say),
        noise.figure(results["noise"], say, data_name(results["noise"], say)),
        curves.figure(results["valley"], say, data_name(results["valley"], say)),
        valley.figure(valleys, say),
    ]
    stable = results["valley"]["largest_stable_rate"]
    of_exercises = exercises.figures(results["exercises"], say, data_name(results["exercises"], say), stable)
    lettered = list(zip("abcdef", found, strict=True))
    return lettered + [(f"g{i}", one) for i, one in enumerate(of_exercises, 1)]


def data_name(part: Mapping[str, Any], say: Words) -> str:
    """The data of an experiment in the page's language; a name that it does not know stays."""
    keys = {
        "the airfoil data": "data.airfoil",
        "the embedded twin of the airfoil data": "data.twin",
        "your arrays": "data.arrays",
        "made": "data.made",
    }
    name = str(part["data"])
    if name not in keys:
        return name
    return say(keys[name], n=f"{part['n']:,}", d=part.get("d", ""))


def _entry(letter: str, one: Figure) -> Markup:
    return tag("li", tag("a", f"({letter}) {one.title}", href=f"#{one.name}"))


def findings(results: Mapping[str, Any], say: Words) -> list[str]:
    """What was found, a sentence for each of the main figures."""
    product, rows = results["ladder"]["products"][0], ladder.rows_of(results["ladder"])
    own = [row for row in rows if not ladder.is_numpy(row["rung"])] or rows
    levels = results["memory"]["limits"]["levels"]
    deviations = results["noise"]["with_replacement"]
    first, hundred = deviations[0], min(deviations, key=lambda row: abs(row["batch_size"] - 100))
    found = [
        say(
            "page.found_ladder", ratio=times(own[-1]["gflops"] / own[0]["gflops"]),
            share=percent(own[-1]["gflops"] / product["peak"]),
        ),
        say(
            "page.found_memory", ratio=times(levels[0]["read"] / levels[-1]["read"]),
            latency=number(levels[-1]["latency"]),
        ),
        say(
            "page.found_noise", b=hundred["batch_size"],
            share=percent(hundred["std"] / first["std"]),
        ),
    ]  # fmt: skip
    of_valley = results["valley"]
    best = next((s for s in of_valley["sizes"] if s["batch_size"] == of_valley["best"]["compiled"]), None)
    if best:
        is_between = 1 < best["batch_size"] < of_valley["n"]
        found.append(
            say(
                "page.found_valley" if is_between else "page.found_end",
                b=best["batch_size"],
                target=plain(100 * of_valley["target"]),
                time=number(1e6 * best["compiled_time"]["median"]),
            )
        )
    return found


def _machine(machine: Mapping[str, Any], results: Mapping[str, Any], say: Words) -> Markup:
    """The machine in one line, its caches, what would make its figures unfair, and how long it all took."""
    caches = [
        f"{level['name']} {size(level['bytes'])}"
        for level in results["memory"]["limits"]["levels"]
        if level["bytes"]
    ]
    lines = [machine_line(machine, say)]
    if caches:
        lines.append(say("page.caches", caches=say.listed(caches)))
    load = machine["cpu"].get("load")
    if isinstance(load, float | int):
        lines.append(say("page.load", load=number(float(load), 2)))
    lines.append(say("page.took", seconds=number(float(results["seconds"]))))
    lines += [say("page.warning", warning=told) for told in warnings_for(dict(machine))]
    return tag("div", *[tag("p", line) for line in lines], class_="machine-box")


def _reading(results: Mapping[str, Any], say: Words) -> Sequence[str]:
    """How to read the page, and what was limited or left out."""
    told = [say(f"page.reading_{name}") for name in ("spread", "flop", "blas", "excess", "again")]
    left_out = [
        *(f"{name} ({say('page.table_ladder')})" for name in results["ladder"]["products"][0]["left_out"]),
        *(f"{name} ({say('page.table_roofline')})" for name in results["roofline"]["left_out"]),
    ]
    if left_out:
        told.append(say("page.left_out", names=say.listed(left_out)))
    notes = [*results["memory"]["notes"], *results["roofline"]["limits"]["notes"]]
    told += [say("page.note", note=note) for note in dict.fromkeys(notes)]
    return told
