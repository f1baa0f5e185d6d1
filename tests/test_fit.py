"""A ``Fit`` cannot be changed by accident, nor can a copy of it; it says what it cannot do."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from conftest import says

from numbasgd import gradient_noise, train
from numbasgd.render import training_plot


@pytest.fixture(scope="module")
def fit():
    return train(validation_fraction=0.1, seed=1)


@pytest.mark.parametrize(
    "how", [lambda f: f, copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))]
)
def test_what_it_holds_is_read_only_in_every_copy(fit, how):
    found = how(fit)
    assert found.to_dict() == fit.to_dict()
    arrays = {name: value for name, value in vars(found).items() if isinstance(value, np.ndarray)}
    assert len(arrays) >= 6
    for value in arrays.values():
        with pytest.raises(ValueError, match="read-only"):
            value[0] = 1
    for mapping in (found.settings, found.versions):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["batch_size"] = 1
    with pytest.raises(AttributeError):
        found.b = 1.0


def test_to_dict_is_a_copy(fit):
    told = fit.to_dict()
    told["settings"]["lr"] = told["versions"]["numpy"] = told["w"][0] = None
    assert None not in (fit.settings["lr"], fit.versions["numpy"], fit.w[0])


def test_it_comes_out_of_a_process_pool(fit):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(train, validation_fraction=0.1, seed=1).result(timeout=120)
    assert found.w.tobytes() == fit.w.tobytes()
    assert not found.w.flags.writeable


@pytest.mark.parametrize("ax", [3, "axes", np.zeros((2, 2))])
def test_what_is_no_axes_is_refused(fit, ax):
    noise = gradient_noise(np.eye(2, 5), [1.0, 0.0], draws=2)
    for draw in (lambda: fit.plot(ax), lambda: training_plot.plot_noise(noise, ax)):
        with pytest.raises(TypeError) as caught:
            draw()
        says(caught.value, "ax is a", "expected matplotlib axes", "Pass", "leave ax out")


def test_noise_of_one_row_is_drawn():
    """Without any spread there is nothing to show on a logarithmic axis, and no warning."""
    ax = training_plot.plot_noise(gradient_noise(np.ones((1, 5)), [2.0], draws=10))
    assert ax.get_yscale() == "linear"
    ax.figure.canvas.draw()
    with_spread = training_plot.plot_noise(gradient_noise(np.eye(2, 5) + 1, [2.0, 3.0], draws=10))
    assert with_spread.get_yscale() == "log"
