"""Kernels under the roof: where they stand, what is drawn, what the command and the benches say of it."""

import json
import math

import numpy as np
import pytest
from conftest import says
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from numbasgd import cli
from numbasgd.experiments import _product as ladder
from numbasgd.experiments import _roofline as roofline
from numbasgd.machine import bounds, peaks
from numbasgd.machine.bounds import limits_of
from numbasgd.machine.deadline import Deadline
from numbasgd.matmul.verify import WrongResultError
from numbasgd.render.figures import separated
from numbasgd.render.roofline_plot import plot_roofline

KB = 1024


def limit(value):
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value}


def points(value):
    return [{"bytes": size, **limit(value)} for size in (4 * KB, 64 * KB, 1 << 20, 1 << 26)]


LIMITS = {
    "schema": 1,
    "seconds": 1.0,
    "threads": 2,
    "fma": {
        "float32": {"one": limit(100.0), "all": limit(200.0)},
        "float64": {"one": limit(50.0), "all": limit(100.0)},
    },
    "bandwidth": {name: {"one": points(20.0), "all": points(30.0)[-1:]} for name in ("read", "copy", "triad")},
    "latency": points(5.0),
    "levels": [
        {"name": "L1", "bytes": 32 * KB, "read": 200.0, "latency": 1.0},
        {"name": "L2", "bytes": 1 << 20, "read": 80.0, "latency": 4.0},
        {"name": "L3", "bytes": 1 << 24, "read": 75.0, "latency": 12.0},
        {"name": "memory", "bytes": None, "read": 10.0, "read_all": 20.0, "latency": 100.0},
    ],
    "gpu": None,
    "notes": [],
}  # fmt: skip


KNOWN = limits_of(LIMITS)


def test_the_roof_is_the_lower_of_arithmetic_and_bandwidth():
    there = roofline.place(KNOWN, flop=4e6, n_bytes=1e6, seconds=1e-3, dtype="float32")
    assert (there.intensity, there.gflops, there.level) == (4.0, 4.0, "L2")
    assert (there.roof, there.limit) == (pytest.approx(100.0), "FMA")  # 4 x 80 would be more
    assert there.peak_share == there.roofline_share == pytest.approx(0.04)
    there = roofline.place(KNOWN, flop=1e9, n_bytes=1e9, seconds=0.2, dtype="float64")
    assert (there.level, there.limit, there.roof) == ("memory", "memory", pytest.approx(10.0))
    assert there.roofline_share == pytest.approx(0.5)
    assert there.peak_share == pytest.approx(0.1)


def test_the_level_is_that_of_the_working_set():
    there = roofline.place(KNOWN, flop=1e9, n_bytes=1e9, seconds=1.0, dtype="float32", working_set=16 * KB)
    assert (there.level, there.roof) == ("L1", pytest.approx(100.0))


@pytest.mark.parametrize("change", [{"flop": 0}, {"n_bytes": 0}, {"seconds": 0.0}, {"dtype": "int8"}])
def test_what_does_no_arithmetic_has_no_place(change):
    assert (
        roofline.place(KNOWN, **{"flop": 1, "n_bytes": 1, "seconds": 1.0, "dtype": "float32", **change}) is None
    )


@given(st.floats(1, 1e15), st.floats(1, 1e12), st.floats(1e-9, 1e3), st.sampled_from(["float32", "float64"]))
def test_shares_are_of_the_roof_and_the_roof_is_not_above_the_peak(flop, n_bytes, seconds, dtype):
    there = roofline.place(KNOWN, flop=flop, n_bytes=n_bytes, seconds=seconds, dtype=dtype)
    assert 0 < there.roof <= LIMITS["fma"][dtype]["one"]["value"] * (1 + 1e-12)
    assert there.roofline_share >= there.peak_share > 0
    assert there.gflops == pytest.approx(there.roofline_share * there.roof)


INFO = {"device": "cpu", "threads": "one", "flop": 4e6, "bytes": 1e6, "dtype": "float32"}


def test_benches_carry_the_shares_whose_limits_are_known():
    expected = {"peak_share": 0.04, "roofline_share": 0.04}
    assert bounds.shares(INFO, 1e-3, LIMITS) == pytest.approx(expected)
    far = bounds.shares({**INFO, "working_set": 1 << 30}, 1e-3, LIMITS)
    assert far["roofline_share"] == pytest.approx(0.1)
    together = bounds.shares({**INFO, "threads": "all"}, 1e-3, LIMITS)
    assert together == pytest.approx({"peak_share": 0.02}), "of caches only one thread's bandwidth is measured"
    reading = bounds.shares({**INFO, "flop": 0}, 1e-3, LIMITS)
    assert reading == pytest.approx({"roofline_share": 1e6 / 80e9 / 1e-3})
    unknown = {key: value for key, value in INFO.items() if key not in ("flop", "bytes")}
    for info, limits in (({**INFO, "device": "cuda"}, LIMITS), (unknown, LIMITS), (INFO, {"schema": 1})):
        assert bounds.shares(info, 1e-3, limits) == {}


def _point(name, group, intensity, gflops):
    roof = min(100.0, 80 * intensity)
    return roofline.Point(
        name, group, roofline.Place(intensity, gflops, "L2", roof, "L2", gflops / 100, gflops / roof)
    )


def _roofline(chosen):
    return roofline.Roofline(
        "float32", LIMITS, tuple(chosen), {"element-1024": 5.0}, 1.0, roofline.fingerprint()
    )


RUNGS = [(f"rung-{i}", speed) for i, speed in enumerate((0.5, 40, 41, 41, 42, 90, 91, 95, 99, 99))]
CHOSEN = [_point(name, "256 x 256", 43.0, speed) for name, speed in RUNGS]
CHOSEN += [_point(name, "1024 x 1024", 171.0, speed) for name, speed in RUNGS]
CHOSEN += [_point(name, "gradient", 1.0, speed) for name, speed in RUNGS[:3]]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_names_are_separated_in_order_and_below_the_roof(wanted, gap):
    places = separated(sorted(wanted), gap, 10.0)
    assert all(b - a >= gap * (1 - 1e-9) for a, b in zip(places, places[1:], strict=False))
    assert places[-1] <= 10.0
    alone = separated([3.0], gap, 10.0)
    assert alone == [3.0]


def test_no_two_labels_of_the_picture_overlap():
    ax = plot_roofline(_roofline(CHOSEN))
    figure = ax.figure
    figure.draw_without_rendering()
    names = [text for text in ax.texts if "rung-" in text.get_text()]
    assert len(names) == len(CHOSEN)
    boxes = [Text.get_window_extent(text) for text in names]  # an annotation's own holds its line, too
    drawing = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert drawing.x0 <= box.x0 and box.x1 <= drawing.x1, names[i].get_text()
        for other, text in zip(boxes[:i], names, strict=False):
            is_apart = box.y0 >= other.y1 - 1 or other.y0 >= box.y1 - 1
            is_beside = box.x0 >= other.x1 or other.x0 >= box.x1
            assert is_apart or is_beside, (names[i].get_text(), text.get_text())


def test_the_picture_says_how_to_read_it_and_draws_every_ceiling():
    ax = plot_roofline(_roofline(CHOSEN))
    said = " ".join(text.get_text() for text in ax.texts)
    assert "How to read it" in said
    for level in LIMITS["levels"]:
        assert f"{level['name']}" in said
    assert "multiply-add peak, float32: 100 GFLOP/s" in said
    ends = [(line.get_xdata(), line.get_ydata()) for line in ax.lines]
    slopes = [(x, y) for x, y in ends if len(x) == 2 and x[0] < x[1] and y[0] < y[1]]
    assert len(slopes) == len(LIMITS["levels"])
    for (x, y), level in zip(slopes, LIMITS["levels"], strict=True):
        np.testing.assert_allclose(np.divide(y, x), level["read"])
    assert plot_roofline(_roofline([])) is not None  # nothing to place: the ceilings alone


@pytest.fixture
def quickly(monkeypatch):
    """``measure`` with known limits and small products."""
    monkeypatch.setattr(peaks, "limits", lambda quick=False, **_: LIMITS)
    monkeypatch.setattr(roofline, "SIZES", (8, 16))
    monkeypatch.setattr(roofline, "GRADIENTS", ((50, 3),))
    monkeypatch.setattr(cli, "COMMANDS", ("roofline",))
    monkeypatch.setattr(
        ladder, "measure", lambda *args, measure=ladder.measure, **kw: measure(*args, seconds=1e-4)
    )


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_every_rung_and_the_gradient_are_placed(quickly, dtype):
    found = roofline.roofline(dtype, quick=True, deadline=Deadline(math.inf))
    on_cpu = [name for name, rung in ladder.RUNGS.items() if "cpu" in rung.devices]
    for size in (8, 16):
        chosen = [p for p in found.points if p.group == f"{size} x {size}"]
        assert {p.name for p in chosen} == set(on_cpu)
        itemsize = np.dtype(dtype).itemsize
        assert all(math.isclose(p.place.intensity, size / (1.5 * itemsize)) for p in chosen)
    [gradient] = [p for p in found.points if p.group == "gradient"]
    assert gradient.name == "50 x 3"
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["kind"] == "roofline"


def test_what_comes_too_late_is_left_out_by_name(quickly):
    found = roofline.roofline(quick=True, deadline=Deadline(0.0))
    assert found.points == ()
    assert list(found.left_out) == ["all-8", "all-16", "gradient-50x3"]
    json.dumps(found.to_dict(), allow_nan=False)


def test_limits_that_are_known_are_not_measured_again(quickly, monkeypatch):
    known = roofline.roofline(quick=True, deadline=Deadline(math.inf)).limits
    monkeypatch.setattr(roofline.peaks, "limits", None)
    again = roofline.roofline(quick=True, limits=known, deadline=Deadline(math.inf))
    assert again.limits is known and again.points
    with pytest.raises(ValueError) as caught:
        roofline.roofline(limits={})
    says(caught.value, "limits is no measurement", "expected memory().limits", "leave it out")


def test_a_wrong_gradient_is_not_placed(quickly, monkeypatch):
    import numbasgd

    right = numbasgd.gradient
    monkeypatch.setattr(numbasgd, "gradient", lambda *args, **kw: (right(*args, **kw)[0] * 1.01, 0.0))
    with pytest.raises(WrongResultError, match="50 x 3"):
        roofline.roofline(quick=True, deadline=Deadline(math.inf))


def test_the_command(quickly, capsys, tmp_path):
    assert cli.main(["roofline", "--quick", "--plot", str(tmp_path / "r.svg")]) == 0
    said = capsys.readouterr().out
    assert "multiply-add peak 100 GFLOP/s" in said
    assert "50 x 3" in said and "blocked" in said
    assert (tmp_path / "r.svg").stat().st_size > 10_000
    assert cli.main(["roofline", "--json", "--dtype", "float32"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dtype"] == "float32"
    assert found["limits"]["schema"] == 1
    assert all(point["roof"] <= 100 * (1 + 1e-12) for point in found["points"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--dtype", "float16"], "float16"),
        (["--plot", "no/such/folder/r.png"], "no/such/folder"),
        (["--plot", "r.word"], "'.word'"),
    ],
)
def test_bad_input_is_one_line_before_any_work(monkeypatch, capsys, argv, said):
    monkeypatch.setattr(cli, "COMMANDS", ("roofline",))
    monkeypatch.setattr(peaks, "limits", None)
    assert cli.main(["roofline", *argv]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err and len(shown.err.splitlines()) == 1
