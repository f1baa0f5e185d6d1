"""Runs that are stopped and resumed: the problems, where to stop, and what must be the same."""

from __future__ import annotations

import numpy as np
from conftest import mapped

from numbasgd import Fit, airfoil_twin, train
from numbasgd.sgd.checkpoint import Checkpoint

ARRAYS = ("w", "loss", "objective", "validation_loss", "samples", "epochs")


def assert_same(a: Fit, b: Fit) -> None:
    """All but the seconds, bit for bit."""
    for name in ARRAYS:
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None), name
        if left is not None:
            assert left.dtype == right.dtype, name
            assert left.tobytes() == right.tobytes(), f"{name}: {left} and {right}"
    assert np.asarray(a.b).tobytes() == np.asarray(b.b).tobytes()
    assert (a.seed, a.n, a.classes, a.data) == (b.seed, b.n, b.classes, b.data)
    assert len(a.seconds) == len(b.seconds)
    assert np.all(np.diff(b.seconds) >= 0)


def data(kind: str = "twin"):
    """X, y and sample weights or None."""
    X, y = airfoil_twin()
    if kind == "twin":
        return X, y, None
    rng = np.random.default_rng(5)
    if kind == "classes":
        return X.astype(np.float64), np.where(y > 0.2, 7.0, 3.0), rng.uniform(0.1, 2, len(y))
    if kind in ("names", "names-float32"):
        return (
            X if kind == "names-float32" else X.astype(np.float64),
            np.array(["quiet", "loud", "louder"])[np.digitize(y, [-0.5, 0.5])],
            rng.uniform(0.1, 2, len(y)),
        )
    if kind == "columns":
        X = mapped(rng.standard_normal((300, 33)))
        return X, X[:, :3] + rng.standard_normal((300, 3)), None
    assert kind == "wide"  # more columns than a register holds; rows are gathered
    X = mapped(rng.standard_normal((300, 37)).astype(np.float32))
    return X, (X @ rng.standard_normal(37) + 1).astype(np.float32), None


PLAIN = {"batch_size": 7, "lr": 0.01}
# settings by name: (data, keyword arguments); few kernels, since each has to be compiled
RUNS = {
    "plain": ("twin", PLAIN),
    "once": ("twin", {**PLAIN, "sampling": "once", "eval_every": 400}),
    "replacement": ("twin", {**PLAIN, "sampling": "replacement", "eval_every": None}),
    "sequential": ("twin", {**PLAIN, "sampling": "sequential", "eval_every": 4000}),
    "blocks": ("twin", {**PLAIN, "sampling": "block", "window": 0.006, "eval_every": 400}),
    "blocks-held-out": (
        "twin",
        {**PLAIN, "sampling": "block", "window": 0.006, "standardize": True, "validation_fraction": 0.2},
    ),
    "one-sample": ("twin", {"batch_size": 1, "eval_every": 1000}),
    "all-rows": ("twin", {"batch_size": 1500, "lr": 0.5}),
    "no-intercept": ("twin", {**PLAIN, "intercept": False, "init": ([1, -1, 0.5, 0.1, 2], 0.25)}),
    "standardized": ("twin", {**PLAIN, "standardize": True, "eval_every": 701}),
    "held-out": ("twin", {**PLAIN, "validation_fraction": 0.2, "eval_every": 500}),
    "stops-early": ("twin", {**PLAIN, "tol": 0.1, "patience": 2, "eval_every": 333}),
    "stops-early-held-out": (
        "twin",
        {**PLAIN, "lr": 0.1, "validation_fraction": 0.3, "tol": 0.0, "patience": 1, "eval_every": None},
    ),
    "rates": ("twin", {**PLAIN, "lr": [0.05, 0.02, 0.01, 0.005]}),
    "cosine": ("twin", {**PLAIN, "schedule": "cosine", "eval_every": 400}),
    "rounds": ("twin", {**PLAIN, "schedule": "restarts", "tol": 1e-9, "validation_fraction": 0.2}),
    "rounds-undone": ("twin", {**PLAIN, "schedule": "restarts", "lr": 1.5, "momentum": 0.5}),
    "classes": (
        "classes",
        {
            "batch_size": 11, "lr": 0.05, "loss": "logistic", "momentum": 0.8, "nesterov": True, "l2": 1e-3,
            "l1": 1e-3, "average": 1,
        },
    ),
    "softmax": (
        "names",
        {"batch_size": 1, "lr": 0.01, "loss": "softmax", "validation_fraction": 0.1, "tol": 1e-9},
    ),
    "softmax-float32": (
        "names-float32",
        {"batch_size": 1, "lr": 0.01, "loss": "softmax", "validation_fraction": 0.1, "tol": 1e-9},
    ),
    "outputs": (
        "columns",
        {"batch_size": 20, "lr": 0.01, "momentum": 0.5, "l2": 1e-3, "average": 1, "standardize": True},
    ),
    "wide": ("wide", {"batch_size": 13, "lr": 0.005, "momentum": 0.9, "average": True, "eval_every": 50}),
}  # fmt: skip
SCHEDULED = {"cosine", "rounds", "rounds-undone"}  # whose rates depend on the number of epochs
EPOCHS = 4
SLOW = {"softmax-float32"}  # more of a kind that is there, with a kernel of its own


def run(name: str, **changes):
    """One of ``RUNS``."""
    kind, settings = RUNS[name]
    X, y, s = data(kind)
    return train(X, y, sample_weight=s, **{"seed": 3, "epochs": EPOCHS, **settings, **changes})


def resume(name: str, fit, **changes):
    """Go on with one of ``RUNS``, on the same data."""
    X, y, s = data(RUNS[name][0])
    return train(X, y, sample_weight=s, resume=fit, **changes)


class Cut(KeyboardInterrupt):
    """What ``cut`` stops a run with."""


def cut(monkeypatch, tmp_path, steps: int, call) -> Fit:
    """The Fit that a run carries out when it is stopped after so many steps; ``call(**more arguments)``."""
    real = Checkpoint.at

    def at(self, samples):
        if self._steps_done(samples) >= steps:
            raise Cut
        real(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "at", at)
        try:
            return call(checkpoint=tmp_path / "cut.fit", checkpoint_every=steps)
        except Cut as error:
            return error.fit
