"""README's table of other trainers: with the arguments it names, their weights are ours, step for step.

scikit-learn is run.  Keras 3.15.1 (on JAX) and Vowpal Wabbit 9.11.9 were run once, on the embedded twin of the
airfoil data in its order, and what they found is kept here: five weights and the intercept.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import numbasgd

pytestmark = pytest.mark.slow  # each is another kernel to compile

X, Y = numbasgd.airfoil_twin()
LOUD = Y > 0
THIRD = np.digitize(Y, [-0.5, 0.5])


def assert_same(fit, coef, intercept, most=2e-5):
    np.testing.assert_allclose(fit.w.T, np.reshape(coef, fit.w.T.shape), rtol=0, atol=most)
    np.testing.assert_allclose(fit.b, np.reshape(intercept, np.shape(fit.b)), rtol=0, atol=most)


SGD = [
    ("SGDRegressor", Y, {"loss": "squared_error"}, {}),
    ("SGDRegressor", Y, {"loss": "huber", "epsilon": 1}, {"loss": "huber"}),
    ("SGDClassifier", LOUD, {"loss": "log_loss"}, {"loss": "logistic"}),
    ("SGDClassifier", LOUD, {"loss": "hinge"}, {"loss": "hinge"}),
]


@pytest.mark.parametrize("name, y, theirs, ours", SGD, ids=[case[2]["loss"] for case in SGD])
def test_sgd_of_scikit_learn(name, y, theirs, ours):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = getattr(linear_model, name)(
        alpha=1e-3, learning_rate="constant", eta0=0.01, max_iter=5, tol=None, shuffle=False, **theirs
    )
    model.fit(X.astype(float), y)
    fit = numbasgd.train(
        X.astype(float), y, l2=1e-3, lr=0.01, epochs=5, batch_size=1, sampling="sequential", **ours
    )
    assert_same(fit, model.coef_, model.intercept_)


@pytest.mark.parametrize("loss, nesterov", [("squared", False), ("squared", True), ("softmax", True)])
def test_mlp_of_scikit_learn_without_a_hidden_layer(loss, nesterov):
    neural_network = pytest.importorskip("sklearn.neural_network")
    kind = neural_network.MLPRegressor if loss == "squared" else neural_network.MLPClassifier
    y = Y if loss == "squared" else THIRD
    model = kind(
        hidden_layer_sizes=(), solver="sgd", alpha=0.1, batch_size=50, learning_rate_init=0.05, momentum=0.9,
        nesterovs_momentum=nesterov, shuffle=False, max_iter=1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        model.partial_fit(X, y, **({} if loss == "squared" else {"classes": [0, 1, 2]}))
        # From zeros, at rest, as ours starts.
        for array in (*model.coefs_, *model.intercepts_, *model._optimizer.velocities):
            array[:] = 0
        for _ in range(3):
            model.partial_fit(X, y)
    fit = numbasgd.train(
        X, y, loss=loss, l2=0.1 / 50, batch_size=50, lr=0.05, momentum=0.9, nesterov=nesterov, epochs=3,
        sampling="sequential",
    )  # fmt: skip
    assert_same(fit, model.coefs_[0].T, model.intercepts_[0])


# model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(K, activation, kernel_initializer="zeros")])
# model.compile(keras.optimizers.SGD(...), loss); model.fit(X, y, batch_size, epochs=3, shuffle=False)
KERAS = {
    # SGD(0.01, momentum=0.9, nesterov=True), "mse", batch_size=50
    "mse-nesterov": (
        {"lr": 0.02, "momentum": 0.9, "nesterov": True},
        [-0.5905222, -0.3460343, -0.5119835, 0.2192525, -0.2647379, 0.0192308],
    ),
    # SGD(0.01, momentum=0.9), "mse", batch_size=50
    "mse-momentum": (
        {"lr": 0.02, "momentum": 0.9},
        [-0.5940032, -0.3373668, -0.5187515, 0.2223394, -0.2550212, 0.0180075],
    ),
    # SGD(0.01), "mse", kernel_regularizer=L2(0.05), batch_size=50
    "mse-l2": (
        {"lr": 0.02, "l2": 0.05},
        [-0.3899017, -0.1478437, -0.2776763, 0.1349065, -0.2681658, 0.0055769],
    ),
    # SGD(0.1), sigmoid, "binary_crossentropy", batch_size=64, which leaves a last minibatch of 28 rows
    "binary_crossentropy": (
        {"loss": "logistic", "lr": 0.1, "batch_size": 64},
        [-0.6896383, -0.2846660, -0.5245210, 0.2238151, -0.4869934, 0.0190491],
    ),
    # SGD(0.1), "huber", batch_size=50
    "huber": (
        {"loss": "huber", "lr": 0.1},
        [-0.5852118, -0.2934738, -0.4683778, 0.2097263, -0.3143807, 0.0137897],
    ),
    # SGD(0.1), "hinge", batch_size=50
    "hinge": (
        {"loss": "hinge", "lr": 0.1},
        [-1.0218661, -0.4664157, -0.7958248, 0.3422424, -0.6267242, 0.0580000],
    ),
}


@pytest.mark.parametrize("case", KERAS)
def test_keras(case):
    settings, weights = KERAS[case]
    y = LOUD if settings.get("loss") in ("logistic", "hinge") else Y
    fit = numbasgd.train(X, y, **{"batch_size": 50, "epochs": 3, "sampling": "sequential", **settings})
    assert_same(fit, weights[:5], weights[5])


def test_keras_softmax():
    """SGD(0.1, momentum=0.9), softmax, "sparse_categorical_crossentropy", batch_size=50: class 0 of 3."""
    fit = numbasgd.train(
        X, THIRD, loss="softmax", lr=0.1, momentum=0.9, batch_size=50, epochs=3, sampling="sequential"
    )
    first = [1.1279870, 0.6795883, 1.0282311, -0.3816597, 0.4185114]
    np.testing.assert_allclose(fit.w[:, 0], first, rtol=0, atol=2e-5)
    np.testing.assert_allclose(fit.b, [-0.3202879, 0.5447235, -0.2244357], rtol=0, atol=2e-5)


# vw --sgd --power_t 0 --decay_learning_rate 1 --passes 3 --holdout_off --cache_file ... --readable_model ...
VW = {
    # -l 0.005
    "squared": ({"lr": 0.01}, [-0.660894, -0.341417, -0.525469, 0.215216, -0.249615, 0.0436122]),
    # --loss_function logistic -l 0.01
    "logistic": (
        {"loss": "logistic", "lr": 0.01},
        [-1.40235, -0.766496, -1.19946, 0.482689, -0.758272, 0.0564683],
    ),
    # --loss_function hinge -l 0.01
    "hinge": ({"loss": "hinge", "lr": 0.01}, [-1.31091, -0.815461, -1.11511, 0.390658, -0.621567, 0.05]),
    # --loss_function quantile --quantile_tau 0.9 -l 0.01
    "quantile": (
        {"loss": "quantile", "quantile": 0.9, "lr": 0.01},
        [-0.588854, -0.305438, -0.488112, 0.229081, -0.277742, 0.890052],
    ),
    # -l 0.005 --l2 0.001, whose weights are those of the file times its l2_state
    "squared-l2": (
        {"lr": 0.01, "l2": 0.0005},
        [0.977751 * w for w in (-0.675384, -0.348408, -0.536751, 0.219808, -0.255541, 0.0445712)],
    ),
}


@pytest.mark.parametrize("case", VW)
def test_vowpal_wabbit(case):
    settings, weights = VW[case]
    y = LOUD if settings.get("loss") in ("logistic", "hinge") else Y.astype(float)
    fit = numbasgd.train(X.astype(float), y, batch_size=1, epochs=3, sampling="sequential", **settings)
    assert_same(fit, weights[:5], weights[5], 1e-4)
