"""The valley: time to a loss by batch size, of compiled steps and of a NumPy loop, on the airfoil twin.

The figure is the time to within 2 % of the gap with the batch size that is the fastest: the samples that it
needs, times the seconds of a sample.  The whole valley is in ``extra_info["valley"]``, for ``numbasgd compare
--html`` of many files.  The full selection has a problem, too, that is so large that all rows at once are slow.
"""

import pytest

from bench.measure import add_elapsed, self_timed
from numbasgd import airfoil_twin, experiments

PROBLEMS = {"airfoil": airfoil_twin, "large": experiments.made_large}
SEEDS = 7
ROUNDS = 3
# Of a valley, what a result file keeps: machine and versions are in it already, and curves are long.
KEPT = ("n", "d", "dtype", "at_zero", "optimum", "target", "target_loss", "seeds")


def _params():
    for name in PROBLEMS:
        marks = [pytest.mark.bench_full] if name == "large" else []
        yield pytest.param(name, id=f"best-f32-{name}-one", marks=marks)


@pytest.mark.benchmark(timer=self_timed)
@pytest.mark.parametrize("name", [*_params()])
def test_valley(measure, name):
    X, y = PROBLEMS[name]()
    found = []

    def call():
        found[:] = [experiments.valley(X, y, seeds=SEEDS)]
        best = found[0].best()
        assert best is not None
        add_elapsed(best.seconds().median)

    measure(
        call,
        check=lambda: (float(sum(size.samples is None for size in found[0].sizes)), 0.0),
        kind="valley",
        case="best",
        ladder=f"valley-f32-{name}-one",
        reference=None,
        is_self_timed=True,
        rounds=ROUNDS,
        dtype="float32",
        n=X.shape[0],
        d=X.shape[1],
        data="airfoil twin" if name == "airfoil" else name,
    )
    told = found[0].to_dict()
    sizes = [{key: value for key, value in size.items() if key != "curve"} for size in told["sizes"]]
    measure.add(valley={**{key: told[key] for key in KEPT}, "sizes": sizes})
