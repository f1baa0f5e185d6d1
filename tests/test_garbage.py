"""A run leaves nothing to the garbage collector, which would take longer than a short run itself."""

import gc

import pytest

from numbasgd import train
from numbasgd.compile.options import uncollected


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.05},
        *(pytest.param(o, marks=pytest.mark.slow) for o in ({"lr": 0.05, "validation_fraction": 0.2}, {})),
    ],
    ids=str,
)
def test_a_run_is_freed_when_it_is_over(options):
    train(seed=0, **options)  # what is compiled or imported now stays
    gc.collect()
    gc.disable()
    try:
        train(seed=0, **options)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_what_a_compile_leaves_is_old_at_once_and_the_collector_is_on_again():
    assert gc.isenabled()
    with uncollected:
        with uncollected:  # compiled code may call for other compiled code
            kept = [[] for _ in range(50_000)]
        assert not gc.isenabled()
    assert gc.isenabled()
    assert any(found is kept[-1] for found in gc.get_objects(generation=2))
