"""Shares of measured limits: which figures they give, what they are compared by, the roofline's picture."""

import json

import pytest
from result_files import LIMITS, MACHINE, document, entry, matmul, other_machine, save, stats, train

from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.estimate import SAME, SLOWER
from numbasgd.compare.reading import read
from numbasgd.render.case_tables import flat_table
from numbasgd.render.comparison_plot import plot_comparison
from numbasgd.render.comparison_rooflines import panels, plot_roofline
from numbasgd.render.figures import new_axes
from numbasgd.render.figures import save as save_picture
from numbasgd.render.machine_text import limits_table


def halved(limits):
    """The limits of a machine half as fast in everything."""
    fma = {d: {t: {"value": c["value"] / 2} for t, c in by.items()} for d, by in limits["fma"].items()}
    levels = [{k: v / 2 if k.startswith("read") else v for k, v in x.items()} for x in limits["levels"]]
    return {**limits, "fma": fma, "levels": levels}


def limited(benchmarks=None, limits=LIMITS, machine=MACHINE, **more):
    return document(benchmarks, machine={**machine, "limits": limits}, **more)


def compared(folder, *documents, **more):
    files = [read(save(folder, f"{'abcdef'[i]}.json", d)) for i, d in enumerate(documents)]
    return compare(sides_of(files), **more)


def gradient(median, n=100_000, d=32):
    one = matmul("numbasgd", median)
    one["name"] = f"gradient[numbasgd-f32-{n}x{d}-one]"
    one["extra_info"] = {
        **one["extra_info"], "kind": "gradient", "ladder": f"gradient-{n}", "n": n, "d": d,
        "flop": 4 * n * d, "bytes": 4 * n * (d + 1),
    }  # fmt: skip
    return one


def test_a_product_is_bounded_by_the_peak_and_a_gradient_by_memory(tmp_path):
    found = compared(tmp_path, limited([matmul("full", 1e-3), gradient(1e-3)]), limited())
    product = found.rows[0].measures[0]
    assert product.share("peak") == product.share("roofline") == pytest.approx(2 * 256**3 / 1e-3 / 200e9)
    assert product.bound.name == "FMA"
    both = compared(tmp_path, limited([gradient(1e-3)]), limited([gradient(1e-3)]))
    streamed = both.rows[0].measures[0]
    assert streamed.bound.name == "memory"
    assert streamed.share("roofline") == pytest.approx(4 * 100_000 * 33 / 1e-3 / 20e9)
    assert streamed.share("peak") == pytest.approx(4 * 100_000 * 32 / 1e-3 / 200e9)


def test_many_passes_over_a_small_working_set_are_bounded_by_its_level(tmp_path):
    passes = matmul("sequential", 1e-3)
    passes["extra_info"].update(kind="memory", flop=0, bytes=10**8, working_set=16384)
    measure = compared(tmp_path, limited([passes]), limited([passes])).rows[0].measures[0]
    assert (measure.bound.name, measure.unit) == ("L1", "GB/s")
    assert measure.share("roofline") == pytest.approx(1e8 / 1e-3 / 400e9) and measure.share("peak") is None


@pytest.mark.parametrize("metric", ["peak", "roofline"])
def test_between_machines_the_verdict_can_be_on_the_share_of_limits(tmp_path, metric):
    """A machine half as fast, and `full` slower still: no BLAS is needed to see it."""
    fast = [matmul("full", 1e-3), matmul("blocked", 1e-3), train("numbasgd", 1e-5)]
    slow = [matmul("full", 3e-3), matmul("blocked", 1e-3), train("numbasgd", 1e-5)]
    other = limited(slow, halved(LIMITS), other_machine(), scale=2)
    found = compared(tmp_path, limited(fast), other, metric=metric, scatter=0.03)
    full, blocked, epochs = (row.changes[0] for row in found.rows)
    assert (full.verdict, full.metric, full.ratio) == (SLOWER, metric, pytest.approx(1 / 3))
    assert (blocked.verdict, blocked.ratio) == (SAME, pytest.approx(1.0))
    assert epochs.verdict == "not comparable", "no work is known, so there is no share"
    assert found.kind_of(found.differences[0]) == "is normalized away"


def test_another_blas_library_does_not_matter_to_shares_of_limits(tmp_path):
    machine = other_machine()
    machine["blas"]["name"] = "mkl"
    cases = [matmul("full", 1e-3)]
    found = compared(tmp_path, limited(cases), limited(cases, machine=machine), metric="peak", scatter=0.03)
    assert found.rows[0].changes[0].verdict == SAME
    found = compared(tmp_path, limited(cases), limited(cases, machine=machine), metric="blas")
    assert found.rows[0].changes[0].verdict == "not comparable"


def test_one_side_without_limits_is_not_comparable_by_them(tmp_path):
    found = compared(tmp_path, limited(), document(), metric="peak")
    assert {row.changes[0].verdict for row in found.rows} == {"not comparable"}
    assert found.rows[0].measures[0].share("peak") and found.rows[0].measures[1].share("peak") is None


def test_limits_are_no_difference_of_machines(tmp_path):
    assert compared(tmp_path, limited(), limited(limits=halved(LIMITS))).differences == ()


def test_the_peak_of_a_cpu_is_no_limit_of_a_card(tmp_path):
    on_card = matmul("full", 1e-3)
    on_card["extra_info"]["device"] = "cuda"
    measure = compared(tmp_path, limited([on_card]), limited([on_card])).rows[0].measures[0]
    assert measure.share("peak") is None and measure.bound is None


def test_the_spread_of_a_limit_is_in_the_share(tmp_path):
    exact, spread = compared(tmp_path, limited(limits=halved(LIMITS)), limited()).rows[0].measures
    assert exact.figures["peak"].error == exact.figures["time"].error, "halved limits come without quartiles"
    assert spread.figures["peak"].error > spread.figures["time"].error


def test_columns_appear_with_limits_alone(tmp_path):
    a, b = save(tmp_path, "a.json", limited()), save(tmp_path, "b.json", document())
    with_one = compare(sides_of([read(a), read(b)]))
    assert limits_table(with_one).columns == ("", "A", "B")
    assert ("FMA peak, float32, one thread (GFLOP/s)", 200.0, None) in limits_table(with_one).rows
    without = compare(sides_of([read(b), read(b)]))
    assert limits_table(without) is None and panels(without) == {}
    assert "A % of peak" in flat_table(with_one).columns


def test_the_roofline_has_a_panel_for_each_dtype_and_all_points(tmp_path):
    wide = matmul("full", 2e-3)
    wide["name"] += "64"
    wide["extra_info"].update(dtype="float64", bytes=24 * 256**2)
    other = limited([matmul("full", 2e-3), wide, gradient(2e-3)], halved(LIMITS), other_machine())
    found = compared(tmp_path, limited([matmul("full", 1e-3), wide, gradient(1e-3)]), other)
    places = panels(found)
    assert {key: len(points) for key, points in places.items()} == {
        ("float32", "one"): 4,
        ("float64", "one"): 2,
    }
    axes = [plot_roofline(new_axes(), found, *key) for key in places]
    assert [ax.get_title(loc="left") for ax in axes] == [
        "Roofline, float32, one thread",
        "Roofline, float64, one thread",
    ]
    words = {text.get_text() for text in axes[0].texts}
    assert {
        "matmul 256",
        "gradient 100000x32",
        "A memory 20",
        "B memory 10",
        "A L1 400",
        "A 200",
        "B 100",
    } <= words
    marks = [line for line in axes[0].lines if line.get_marker() not in (None, "None", "")]
    assert sorted(line.get_ydata().tolist() for line in marks)[0][0] == pytest.approx(2 * 256**3 / 2e-3 / 1e9)
    save_picture(axes[0], tmp_path / "roof.svg")
    assert panels(compared(tmp_path, document(), document())) == {}


def test_the_picture_has_the_rooflines_below_the_bars(tmp_path):
    titles = [ax.get_title(loc="left") for ax in plot_comparison(compared(tmp_path, limited(), limited())).axes]
    assert titles == ["matmul-f32-256-one", "train-f32-b10", "Roofline, float32, one thread"]


@pytest.mark.parametrize(
    "limits", [None, [], "x", {"schema": 1}, {"schema": 7, "fma": {}}, {"schema": 1, "fma": 3}]
)
def test_odd_limits_are_no_traceback(tmp_path, limits):
    found = compared(tmp_path, limited(limits=limits), limited(limits=limits))
    assert found.rows and limits_table(found) is None
    json.dumps([vars(change) for row in found.rows for change in row.changes if change], allow_nan=False)


def test_files_of_others_have_no_shares(tmp_path):
    cases = [entry("test_a", stats(1e-3))]
    assert compared(tmp_path, limited(cases), limited(cases)).rows[0].measures[0].share("roofline") is None
