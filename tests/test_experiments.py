"""``numbasgd.experiments``: results that print, draw and serialize, and figures in them that can be checked."""

import doctest

import pytest

from numbasgd.experiments import _chapter, _exercises, _ladder, _memory, _noise, _roofline, _valley

DOCTESTED = {  # module: whether its example is over in a moment
    _ladder: True,
    _memory: False,
    _roofline: False,
    _noise: True,
    _chapter: True,
    _valley: True,
    _exercises: True,
}


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(m, marks=() if is_quick else pytest.mark.slow, id=m.__name__.rpartition("_")[2])
        for m, is_quick in DOCTESTED.items()
    ],
)
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert tried > 2 and failed == 0
