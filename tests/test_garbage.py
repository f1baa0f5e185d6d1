"""A run leaves nothing to the garbage collector, which would take longer than a short run itself."""

import gc

import pytest

from numbasgd import train


@pytest.mark.parametrize("options", [{"lr": 0.05}, {"lr": 0.05, "validation_fraction": 0.2}, {}], ids=str)
def test_a_run_is_freed_when_it_is_over(options):
    train(seed=0, **options)  # what is compiled or imported now stays
    gc.collect()
    gc.disable()
    try:
        train(seed=0, **options)
        assert gc.collect() == 0
    finally:
        gc.enable()
