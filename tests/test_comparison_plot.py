"""The picture of a comparison: what changed comes first, what is left out is said, no text overlaps."""

import itertools
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from result_files import LIMITS, MACHINE, document, entry, matmul, other_machine, save, stats

from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.reading import read
from numbasgd.render.comparison_ladders import MOST_CASES, by_change, called, told_of
from numbasgd.render.comparison_plot import MOST_LADDERS, plot_comparison
from numbasgd.render.comparison_rooflines import panels, plot_roofline
from numbasgd.render.figures import new_axes
from numbasgd.render.palette import series_colour, series_marker

CASES = ("element", "full", "numpy")


def compared(folder, *documents, **more):
    files = [read(save(folder, f"{i}.json", d)) for i, d in enumerate(documents)]
    return compare(sides_of(files), **more)


def ladders(number, changed=()):
    """As many ladders of three cases; ``changed``: by how much `full` is slower on each size."""
    factors = dict(changed)
    return [matmul(case, 1e-3 * (factors.get(n, 1) if case == "full" else 1), n)
            for n in range(10, 10 + number) for case in CASES]  # fmt: skip


def named(comparison):
    return [ladder.name for ladder in by_change(comparison)]


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_the_ladder_that_regressed_comes_first_wherever_it_stands(tmp_path):
    number = 2 * MOST_LADDERS
    found = compared(
        tmp_path, document(ladders(number)), document(ladders(number, {20: 0.4, 32: 2.0, 33: 3.0}))
    )
    first = named(found)
    assert first[:3] == ["matmul-f32-33-one", "matmul-f32-32-one", "matmul-f32-20-one"]
    assert sorted(first) == sorted({row.ladder for row in found.rows})
    figure = plot_comparison(found)
    assert [ax.get_title(loc="left") for ax in figure.axes][:3] == first[:3]
    assert len(figure.axes) == MOST_LADDERS
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["3.00x slower"]
    said = " ".join(texts(figure)).replace("\n", " ")
    assert f"{MOST_LADDERS} ladders left out, no case in them was called faster or slower: " in said
    assert all(name in said for name in first[MOST_LADDERS:])
    assert "of its kind" not in said  # both are of one machine


def test_between_machines_it_says_what_faster_and_slower_are_against():
    results = Path(__file__).resolve().parents[1] / "bench" / "results"
    files = [read(results / f"amd-epyc-{core}-2cores.json") for core in ("zen4", "zen5")]
    said = " ".join(texts(plot_comparison(compare(sides_of(files))))).replace("\n", " ")
    assert said.startswith("Faster and slower: of the share, against the cases of its kind. ")


def test_a_case_that_fell_against_its_own_machine_comes_before_those_that_gained(tmp_path):
    """`full` is near the BLAS on one machine and at half of it on the other: no verdict is needed for that."""
    near, far = ladders(5, {n: 1 for n in range(10, 15)}), ladders(5, {11: 0.4, 14: 2.0})
    other = document(far, machine=other_machine())
    found = compared(tmp_path, document(near), other, scatter=2.0)
    assert not any(called(row) for row in found.rows)
    assert named(found)[0] == "matmul-f32-14-one"


def test_of_a_long_ladder_the_cases_that_changed_are_kept(tmp_path):
    """A file of another project is one ladder of hundreds of cases."""
    cases = [entry(f"test_{i}", stats(1e-3)) for i in range(3 * MOST_CASES)]
    slow = [entry(f"test_{i}", stats(2e-3 if i == 100 else 1e-3)) for i in range(3 * MOST_CASES)]
    (ladder,) = by_change(compared(tmp_path, document(cases), document(slow)))
    assert len(ladder.rows) == MOST_CASES and ladder.left_out == 2 * MOST_CASES
    assert "test_100" in ladder.names and ladder.title == "cases without a group (40 of 120 cases)"
    places = [int(name.removeprefix("test_")) for name in ladder.names]
    assert places == sorted(places), "in the order of the files"


def test_what_is_left_out_says_whether_it_changed(tmp_path):
    found = compared(tmp_path, document(ladders(3)), document(ladders(3, {11: 2.0})))
    first, *others = by_change(found)
    assert told_of(others) == (
        "2 ladders left out, no case in them was called faster or slower: matmul-f32-10-one, matmul-f32-12-one."
    )
    assert told_of([first]) == "One ladder left out, 1 of its cases changed too: matmul-f32-11-one."


def shown(figure):
    """All texts; a tick beyond the end of its axis has one that is not drawn."""
    yield from (*figure.texts, *(text for legend in figure.legends for text in legend.get_texts()))
    for ax in figure.axes:
        yield from (*ax.texts, ax.xaxis.label, ax.yaxis.label, ax._left_title)
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            yield from (tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)


@pytest.mark.parametrize("sides", [2, 3, 5])
def test_no_text_lies_over_another(tmp_path, sides):
    machines = [MACHINE, *(other_machine(model=f"CPU {i}") for i in range(1, sides))]
    found = compared(
        tmp_path,
        *(
            document(ladders(3, {11: 1 + 2 * i}), machine={**machine, "limits": LIMITS}, scale=1 + 0.01 * i)
            for i, machine in enumerate(machines)
        ),
        metric="time",
    )
    figure = plot_comparison(found)
    FigureCanvasAgg(figure).draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown(figure) if text.get_text().strip()]
    width, height = figure.bbox.size
    for text, box in boxes:
        assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        over = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(over) < 3, (one, other)


def test_slow_cases_do_not_squeeze_the_roofs(tmp_path):
    """What lies far below is counted and not drawn; the fastest case of each machine always is."""
    slow = [matmul("full", 1e-3), matmul("element", 10.0), matmul("numpy", 3e-4)]
    machine = {**MACHINE, "limits": LIMITS}
    found = compared(tmp_path, document(slow, machine=machine), document(slow, machine=machine))
    ax = plot_roofline(new_axes(), found, "float32", "one")
    drawn = [y for line in ax.lines if line.get_marker() not in (None, "None", "") for y in line.get_ydata()]
    assert len(drawn) == 4 and len(panels(found)["float32", "one"]) == 6
    assert ax.get_xlabel().endswith("; 2 slower cases lie below")
    assert max(drawn) == pytest.approx(2 * 256**3 / 3e-4 / 1e9)


def test_many_machines_have_marks_of_their_own():
    marks = [(series_colour(i), series_marker(i)) for i in range(64)]
    assert len(set(marks)) == 64
