"""The chapter's four runs, with what their picture does not tell: the optimum, and which rates are stable."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.experiments._problem import LeastSquares, given_or_airfoil
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.sgd.chapter import RUNS, train_chapter
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.train import train

SCHEMA = 1
MORE_EPOCHS = 60  # of gradient descent at the chapter's rate, to show where it goes


@dataclass(frozen=True)
class Chapter:
    """The four runs by name, and what to hold them against.

    data : which data it was.  optimum : the least loss there is.  largest_stable_rate : above it gradient
    descent diverges on this data.  gd_losses : of gradient descent at the chapter's rate that goes on, by
    epoch.  seconds : what all of it took.
    """

    data: str
    runs: Mapping[str, Fit]
    optimum: float
    largest_stable_rate: float
    gd_losses: tuple[float, ...]
    seconds: float
    machine: Mapping[str, Any]

    @property
    def remark(self) -> str:
        """What is to be said of the rate of gradient descent, in words."""
        rate = self.runs["gd"].settings["lr"]
        stable = f"the largest stable rate of gradient descent here, {self.largest_stable_rate:.3g}"
        if rate <= self.largest_stable_rate:
            return f"gd's lr = {rate:g} is below {stable}."
        turn = int(np.argmin(self.gd_losses))
        return (
            f"gd's lr = {rate:g} lies beyond {stable}: its loss rises from epoch {turn} on, and "
            f"{len(self.gd_losses) - 1} epochs reach a loss of {self.gd_losses[-1]:.2g}."
        )

    def table(self) -> str:
        """The four runs as text, and the remark."""
        from numbasgd.render.training_text import chapter_table

        return chapter_table(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw the chapter's figures, which are returned, or all four losses against seconds on ``ax``."""
        from numbasgd.render import training_plot

        if ax is not None:
            return training_plot.plot_runs(self.runs, ax, x="seconds")
        return training_plot.plot_chapter(self.runs, self.remark, self.optimum)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values.

        "schema", "kind" : 1 and "chapter".  "data" : which data it was, in words.
        "runs" : by name, in the chapter's order, what ``Fit.to_dict`` tells: "loss" against "samples", "epochs"
        and "seconds", the "settings" with "lr" and "batch_size".
        "optimum", "largest_stable_rate", "gd_losses", "remark" : as the fields.
        "seconds" : what all of it took.  "machine" : the fingerprint, "versions" in it.
        """
        return {
            "schema": SCHEMA,
            "kind": "chapter",
            "data": self.data,
            "runs": {name: fit.to_dict() for name, fit in self.runs.items()},
            "optimum": self.optimum,
            "largest_stable_rate": self.largest_stable_rate,
            "gd_losses": list(self.gd_losses),
            "remark": self.remark,
            "seconds": self.seconds,
            "machine": dict(self.machine),
        }


def chapter(X: Any = None, y: Any = None, *, seed: int = 0) -> Chapter:
    """Make the chapter's four runs: gradient descent, SGD, and minibatches of 100 and of 10.

    Parameters
    ----------
    X : array_like, shape (n, d), optional
        Standardized columns: the rates are the chapter's.
    y : array_like, shape (n,), optional
        The airfoil data where the file is at hand, else its embedded twin, if left out; ``data`` tells which.
    seed : int
        Of the first weights and of the orders.

    Returns
    -------
    Chapter

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.
    DivergenceError
        If the chapter's rates are too large for these rows.

    See Also
    --------
    numbasgd.train_chapter : the runs alone.
    valley : time to a loss by batch size, which compiled code needs to show that a size in between wins.

    Examples
    --------
    >>> from numbasgd import airfoil_twin, experiments
    >>> found = experiments.chapter(*airfoil_twin())
    >>> print(found.table())                               # doctest: +ELLIPSIS
    run ...
    >>> print(found.remark)
    gd's lr = 1 lies beyond the largest stable rate of gradient descent here, 0.953: its loss rises from epoch 6 on, and 60 epochs reach a loss of 61.
    >>> round(found.optimum, 6)
    0.241688
    """  # noqa: E501 - what a line prints stands in one line
    begin = time.perf_counter()
    X, y, data = given_or_airfoil(X, y)
    X = check.array(X, "X", 2)
    runs = train_chapter(X, y, seed=seed)
    known = LeastSquares(X, np.asarray(y))
    lr = RUNS["gd"][0]
    with warnings.catch_warnings():  # that the rate is too large is what is to be shown
        warnings.filterwarnings("ignore", "lr is .* beyond the largest stable one", UserWarning)
        gd = train(X, y, lr=lr, batch_size=len(X), epochs=MORE_EPOCHS, seed=0)
    return Chapter(
        data,
        MappingProxyType(runs),
        known.least,
        known.largest_stable_rate,
        tuple(gd.loss.tolist()),
        round(time.perf_counter() - begin, 3),
        fingerprint(),
    )
