"""numbasgd's own errors travel whole: copied, pickled, out of a worker process."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import numbasgd
from numbasgd import errors


@pytest.fixture(scope="module")
def diverged():
    with (
        pytest.warns(UserWarning, match="beyond the largest stable"),
        pytest.raises(numbasgd.DivergenceError) as caught,
    ):
        numbasgd.train(batch_size=100, lr=1.5, epochs=100, seed=1)
    return caught.value


def assert_same(found, expected):
    assert type(found) is type(expected)
    assert found.args == expected.args
    assert vars(found).keys() == vars(expected).keys()
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), value)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_divergence_can_be_copied(diverged, how):
    assert_same(how(diverged), diverged)


def test_a_note_stays_with_it(diverged):
    noted = copy.copy(diverged)
    noted.add_note("in fold 3")
    assert copy.copy(noted).__notes__ == ["in fold 3"]


def test_a_divergence_comes_out_of_a_process_pool(diverged):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        work = pool.submit(numbasgd.train, batch_size=100, lr=1.5, epochs=100, seed=1)
        with pytest.raises(numbasgd.DivergenceError) as caught:
            work.result(timeout=120)
    assert_same(caught.value.with_traceback(None), diverged)


@pytest.mark.parametrize("name", ["DataError", "DeviceError", "ResultFileError", "WrongResultError"])
def test_the_others_can_be_copied(name):
    error = getattr(numbasgd, name)("what went wrong")
    assert_same(pickle.loads(pickle.dumps(error)), error)


def test_every_error_is_exported():
    own = {n for n, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert own <= set(numbasgd.__all__)
