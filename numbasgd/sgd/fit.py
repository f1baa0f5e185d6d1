"""``Fit``: what a training run returns."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numba
import numpy as np

from numbasgd import check
from numbasgd.sgd import fit_io, fit_summary, labels, predict, stopping
from numbasgd.sgd.columns import Names
from numbasgd.sgd.losses import softmax
from numbasgd.sgd.noise_track import NoiseHistory
from numbasgd.sgd.state import RunState


@functools.cache
def versions() -> Mapping[str, str]:
    """The versions that a result depends on."""
    from numbasgd import __version__

    found = {
        "numbasgd": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvmlite": numba.llvmlite.__version__,  # as Numba found it; importlib.metadata reads files for that
    }
    return MappingProxyType(found)


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A linear model and how it was trained.

    Attributes
    ----------
    w : ndarray, shape (d,), or (d, K) for K classes or targets
        Weights, in the units of the X that was passed; float64 after ``standardize``.
    b : float, or ndarray, shape (K,)
        Intercept.
    loss : ndarray, shape (t,)
        The (weighted) mean loss over the training rows, at the start and after each evaluation; ``loss[-1]``
        belongs to ``w`` and ``b``.  It is NaN in the Fit of an interrupt or a checkpoint between two
        evaluations when evaluating takes longer than a moment.
    objective : ndarray, shape (t,)
        The same with the penalties added.
    validation_loss : ndarray, shape (t,), or None
        The mean loss over the rows that were held out.
    samples, epochs, seconds : ndarray, shape (t,)
        When that was: samples seen, passes over the data, and seconds spent on training alone: shuffling, and
        reading rows that are in a file, included; compilation, evaluation and the extra entries into compiled
        code that it takes left out.
    compile_seconds : float
        What compiling, or loading compiled code, took before the clock was started.
    data : str
        Where X and y came from.
    n : int
        Training rows.
    classes : tuple or None
        The values of y that a classifier tells apart, in order.  "logistic" and "hinge" predict the first of
        two where ``decision_function`` is below 0, "softmax" the one of its largest column.
    feature_names : tuple or None
        The names of the columns, where X was a table that has them (pandas, Polars, PyArrow): text or integers.
        A table that is predicted for is matched by them.
    seed : int
        The seed that was used; pass it to ``train`` to run the same again.
    settings : mapping
        All settings, as plain values; ``lr`` is the number that was used, the first one of a schedule, and
        ``sampling`` the order of the rows.  What was passed for these is ``lr_given`` and ``sampling_given``.
    lr_because : str
        What the learning rate comes from: "given", or what ``lr="auto"`` chose it by.
    batch_size_because : str
        What the batch size comes from: "given", or what ``batch_size="auto"`` chose it by.
    stopped : str
        Why the run has ended: "converged", "validation" (the held-out rows got no better), "epochs" (all were
        made), "limit" (so were as many as there are at most where epochs is left out), "budget", "callback" or
        "unfinished" (interrupted, or not ended yet).  ``stopped_because`` says it in a sentence.
    times : mapping
        The seconds of the call, by what they were spent on: "choosing" the learning rate, "scaling" the
        columns, "compiling", "training", "evaluating" and "other".  Empty for files of before there was this.
    versions : mapping
        Of numbasgd, Python, NumPy, Numba and llvmlite.
    """

    w: np.ndarray
    b: Any
    loss: np.ndarray
    objective: np.ndarray
    validation_loss: np.ndarray | None
    samples: np.ndarray
    epochs: np.ndarray
    seconds: np.ndarray
    compile_seconds: float
    data: str
    n: int
    classes: tuple[Any, ...] | None
    seed: int
    settings: Mapping[str, Any]
    lr_because: str
    stopped: str
    times: Mapping[str, float]
    feature_names: Names | None = None
    batch_size_because: str = "given"
    noise_track: np.ndarray | None = None  # (k, 3) samples, tr(Sigma) and |G|^2
    versions: Mapping[str, str] = field(default_factory=versions)
    _state: RunState | None = None  # what is needed to go on

    def __post_init__(self) -> None:
        fields = vars(self)
        for a in (*fields.values(), *(self._state or ())):
            if type(a) is np.ndarray:
                a.setflags(write=False)
        for name in ("settings", "times", "versions"):
            if type(given := fields[name]) is not MappingProxyType:
                fields[name] = MappingProxyType(dict(given))

    @classmethod
    def of_run(cls, **fields: Any) -> Fit:
        """The Fit of these fields, which are all but the versions; a frozen class sets them one by one."""
        fit = object.__new__(cls)
        vars(fit).update(fields, versions=versions())
        fit.__post_init__()
        return fit

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is made anew, and so is as read-only as this one; a view of a dict cannot be pickled.
        return _made, (type(self), {n: dict(v) if isinstance(v, Mapping) else v for n, v in vars(self).items()})

    def __repr__(self) -> str:
        outputs = (
            ""
            if self.w.ndim == 1
            else f" -> {self.w.shape[1]} {'outputs' if self.classes is None else 'classes'}"
        )
        return (
            f"<Fit: {self.data}, {self.n} rows x {len(self.w)} columns{outputs}, "
            f"batch_size {self.settings['batch_size']}, lr {self.settings['lr']:.4g}, "
            f"{self.epochs[-1]:g} epochs: loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g} "
            f"in {self.seconds[-1]:.3g} s>"
        )

    def _repr_html_(self) -> str:
        return fit_summary.html_of(self)

    def summary(self, weights: int = 10) -> str:
        """Data, settings, losses, why the run has ended, the seconds and the largest weights, as text to print.

        Parameters
        ----------
        weights : int
            How many of the weights, at most.  They are ordered by their size, times the standard deviation of
            their column where the run standardized.

        Returns
        -------
        str
        """
        hint = "Pass how many weights to show."
        return fit_summary.summary(self, check.integer(weights, "weights", low=0, hint=hint))

    @property
    def stopped_because(self) -> str:
        """Why the run has ended, in a sentence."""
        return stopping.sentence(self.stopped, self.settings, float(self.epochs[-1]))

    @property
    def noise(self) -> NoiseHistory | None:
        """tr(Sigma), |G|^2 and their ratio along the run, where ``track_noise`` was True."""
        return None if self.noise_track is None else NoiseHistory(*self.noise_track.T)

    @property
    def seconds_per_epoch(self) -> float:
        """Mean training time of one pass over the data, in seconds."""
        return float(self.seconds[-1] / self.epochs[-1]) if self.epochs[-1] else 0.0

    def predict(self, X: Any) -> np.ndarray:
        """Predict y for rows of the same columns: ``decision_function(X)``, or for a classifier the class.

        Parameters
        ----------
        X : array_like, sparse array or rows in a file, shape (n, d)

        Returns
        -------
        ndarray, shape (n,), or (n, K) for K targets

        Raises
        ------
        TypeError, ValueError
            If X is not a 2-D array of finite numbers with d columns.
        """
        z = self.decision_function(X)
        if self.classes is None:
            return z
        number = z.argmax(axis=1) if z.ndim == 2 else np.where(z < 0, 0, 1)
        return labels.array_of(self.classes)[number]

    def decision_function(self, X: Any) -> np.ndarray:
        """``X @ w + b``, the predictions of a linear model before any class is decided on.

        Parameters
        ----------
        X : array_like, sparse array or rows in a file, shape (n, d)

        Returns
        -------
        ndarray, shape (n,), or (n, K) for K classes or targets

        Raises
        ------
        TypeError, ValueError
            If X is not a 2-D array of finite numbers with d columns.
        """
        return predict.decision_function(X, self.w, self.b, self.feature_names)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, of which a row's add up to 1.

        With z the ``decision_function``: ``1 / (1 + exp(z))`` and ``1 / (1 + exp(-z))`` for a logistic fit,
        ``exp(z_k) / sum over j of exp(z_j)`` for a softmax fit.

        Parameters
        ----------
        X : array_like, sparse array or rows in a file, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)
            Column k belongs to ``classes[k]``; K is 2 for a logistic fit.

        Raises
        ------
        TypeError, ValueError
            If X is not a 2-D array of finite numbers with d columns, or the loss models no probabilities.
        """
        z = self._log_odds(X)
        return softmax(z) if z.ndim == 2 else np.stack([_logistic(-z), _logistic(z)], axis=1)

    def scores(self, X: Any) -> np.ndarray:
        """Alias of ``decision_function``, its name before."""
        return self.decision_function(X)

    def probability(self, X: Any) -> np.ndarray:
        """The probability of the second class, shape (n,), for a logistic fit; the name before.

        That is ``predict_proba(X)[:, 1]``; for a softmax fit it is ``predict_proba(X)``, shape (n, K).
        """
        z = self._log_odds(X)
        return softmax(z) if z.ndim == 2 else _logistic(z)

    def _log_odds(self, X: Any) -> np.ndarray:
        """The ``decision_function``, if probabilities follow from it."""
        if self.settings["loss"] not in ("logistic", "softmax"):
            raise ValueError(
                f"this fit has loss {self.settings['loss']!r}; expected 'logistic' or 'softmax', which model "
                "probabilities. Use predict(X) or decision_function(X)."
            )
        return self.decision_function(X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to one file, bit for bit, for ``Fit.load`` and ``train(resume=path)``.

        The file (``numbasgd.sgd.fit_io``) is written beside and renamed, so ``path`` never holds a part of it.

        Raises
        ------
        FitFileError
            If it cannot be written; what was at ``path`` is still there.
        """
        fit_io.write(vars(self), fit_io.path_of(path, "path"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Fit:
        """The Fit in a file that ``save`` or a checkpoint wrote.

        Raises
        ------
        FitFileError
            If the file cannot be read, is truncated, damaged or no such file, or was written by a newer
            numbasgd.
        """
        return fit_io.read(fit_io.path_of(path, "path"), cls)

    def plot(self, ax: Any = None, *, x: str = "epochs", label: str | None = None) -> Any:
        """Draw the loss against ``x``, one of "epochs", "samples" or "seconds".

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if left out.

        Returns
        -------
        matplotlib Axes
        """
        from numbasgd.render.training_plot import plot_loss

        return plot_loss(self, ax, x=x, label=label)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values that ``json.dump`` takes."""
        return {
            "w": self.w.tolist(),
            "b": self.b if self.w.ndim == 1 else self.b.tolist(),
            "loss": self.loss.tolist(),
            "objective": self.objective.tolist(),
            "validation_loss": None if self.validation_loss is None else self.validation_loss.tolist(),
            "samples": self.samples.tolist(),
            "epochs": self.epochs.tolist(),
            "seconds": self.seconds.tolist(),
            "compile_seconds": self.compile_seconds,
            "data": self.data,
            "n": self.n,
            "classes": None if self.classes is None else list(self.classes),
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "seed": self.seed,
            "settings": dict(self.settings),
            "lr_because": self.lr_because,
            "batch_size_because": self.batch_size_because,
            "noise_track": None if self.noise_track is None else self.noise_track.tolist(),
            "stopped": self.stopped,
            "times": dict(self.times),
            "versions": dict(self.versions),
        }


def _logistic(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), without overflow, and right to the last digits where it is small."""
    return np.exp(-np.logaddexp(0, -z))


def _made(kind: type[Fit], values: dict[str, Any]) -> Fit:
    return kind(**values)
