"""What a case of training gives, as hashes; by the public API alone, so that any version of numbasgd runs it.

numbasgd is imported when the first case is run: by then ``bench.same_bits`` has said which one.
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.pairwise import Case, covering
from bench.training_cases import (
    EPOCHS,
    FROM_FILE,
    SEED,
    data_of,
    rates_of,
    rows_in_order,
    settings_of,
    targets_of,
)


def digest(value: Any) -> str:
    """A hash of numbers: their dtype, shape and bytes; "None" for None."""
    if value is None:
        return "None"
    a = np.ascontiguousarray(value)
    return hashlib.sha256(f"{a.dtype.str} {np.shape(value)} ".encode() + a.tobytes()).hexdigest()


def hashes_of(fit: Any, X: np.ndarray, prefix: str = "", *, is_evaluated: bool = True) -> dict[str, str]:
    """What a Fit says, but for times, versions and settings.

    is_evaluated : whether its last losses are told, which for an interrupt depends on how long they take.
    """
    found = {prefix + name: digest(getattr(fit, name)) for name in ("w", "b", "samples", "epochs")}
    for name in ("loss", "objective", "validation_loss"):
        history = getattr(fit, name)
        found[prefix + name] = digest(history if is_evaluated or history is None else history[:-1])
    found[prefix + "classes"] = repr(fit.classes)
    found[prefix + "n, seed"] = f"{fit.n}, {fit.seed}"
    found[prefix + "predict"] = digest(fit.predict(X[:50]))
    return found


class _InterruptingStream(io.StringIO):
    """A stderr that presses Ctrl-C at the first line that training prints, that of an evaluation."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


class _CaseRun:
    """One case: stopped where it says, and gone on with to the end.

    path : of the file where it goes on from one.  theirs : another such file, to go on from in its place.
    """

    def __init__(self, case: Case, folder: Path, path: Path, theirs: Path | None) -> None:
        self.case, self.path, self.theirs = case, path, theirs
        self.stop = case["stop"]
        self.epochs = case.get("epochs", EPOCHS)
        self.X, self.y, self.weights = data_of(case, folder)
        self.found: dict[str, str] = {}
        self.calls = hashlib.sha256()

    def run(self) -> None:
        """Fill ``found``."""
        saved = self.theirs or self.first()
        if saved is not None:
            if self.stop in FROM_FILE:
                from numbasgd import Fit

                self.found.update(hashes_of(Fit.load(saved), self.X, "file: ", is_evaluated=False))
            self.go_on(saved)

    def first(self) -> Any:
        """Train, up to the stop; what to go on from, or None when the run is complete."""
        epochs = 1 if self.stop == "fewer epochs" else self.epochs
        settings = settings_of(self.case, epochs)
        if self.stop in ("checkpoint", "interrupt"):
            settings |= {"checkpoint": self.path, "checkpoint_every": 1000}
        if self.stop == "interrupt":
            settings |= {"callback": self.interrupt}
        elif self.stop == "callback":
            settings |= {"callback": self.end_after_two}
        elif self.stop == "between evaluations":
            settings |= {"verbose": True}
        stderr = sys.stderr
        if self.stop == "between evaluations":
            sys.stderr = _InterruptingStream()
        try:
            fit = self.train(**settings)
        except KeyboardInterrupt as error:
            fit = error.fit  # type: ignore[attr-defined]
            self.found.update(hashes_of(fit, self.X, "stopped: ", is_evaluated=False))
            return self.path if self.stop == "interrupt" else fit
        finally:
            sys.stderr = stderr
        if self.stop == "fewer epochs":
            fit.save(self.path)
            return self.path
        if self.stop == "checkpoint":
            self.found.update(hashes_of(fit, self.X, "stopped: "))
            return self.path
        self.found.update(hashes_of(fit, self.X))
        return None

    def go_on(self, saved: Any) -> None:
        """From a stop to the end, which is an epoch later for a run that was complete."""
        epochs = self.epochs + (self.stop == "checkpoint")
        settings: dict[str, Any] = {"epochs": epochs, "progress": False, "verbose": False}
        if self.stop in ("fewer epochs", "checkpoint") and self.case["lr"] in ("list", "function"):
            settings["lr"] = rates_of(self.case, epochs)
        if self.stop == "interrupt":
            settings["callback"] = self.end_after_two
        self.found.update(hashes_of(self.train(resume=saved, **settings), self.X))

    def train(self, **settings: Any) -> Any:
        """``numbasgd.train`` on the data of the case."""
        from numbasgd import train

        if self.weights is not None:
            settings["sample_weight"] = self.weights
        return train(self.X, self.y, **settings)

    def interrupt(self, fit: Any) -> None:
        """A callback that is interrupted."""
        raise KeyboardInterrupt

    def end_after_two(self, fit: Any) -> bool:
        """A callback that ends the run after two epochs, and remembers what it saw."""
        self.calls.update(repr(hashes_of(fit, self.X)).encode())
        self.found["callback"] = self.calls.hexdigest()
        return bool(fit.epochs[-1] >= 2)


def run_case(case: Case, folder: Path, path: Path, theirs: Path | None = None) -> dict[str, str]:
    """What a case gives: hashes, warnings, and the error if it ends in one; arguments as in ``_CaseRun``."""
    run = _CaseRun(case, folder, path, theirs)
    return recorded(run.run, run.found, folder)


def recorded(call: Callable[[], Any], found: dict[str, str], folder: Path) -> dict[str, str]:
    """``found``, which ``call`` fills, and the warnings and the error of the call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except Exception as error:
            found["error"] = f"{type(error).__name__}: {error}".replace(str(folder), "FOLDER")
            for name in ("w", "b", "loss", "epoch", "suggested_lr"):  # of a divergence
                if hasattr(error, name):
                    found[f"error: {name}"] = digest(getattr(error, name))
    said = {f"{w.category.__name__}: {w.message}" for w in caught}
    found["warnings"] = "; ".join(sorted(said)).replace(str(folder), "FOLDER")
    return found


# Other public functions

Call = Callable[[Path], dict[str, str]]  # told a folder for files
_GRADIENTS: dict[str, tuple[Any, ...]] = {
    "problem": ("squared", "huber", "logistic", "hinge", "softmax-3", "squared-10", "softmax-40", "huber-1"),
    "d": (5, 1, 33, 129, 784),
    "dtype": ("float32", "float64"),
    "order": ("C", "F", "reversed"),
    "n": (10, 1, 300, 20_000),
    "rows": ("all", "some", "flags"),
    "threads": (None, 1, 2),
}


def gradient(case: Case, folder: Path) -> dict[str, str]:
    """Of one case, twice, since the second call may take a shorter way."""
    from numbasgd import gradient

    n, d = case["n"], case["d"]
    X = rows_in_order(n, d, case["dtype"], case["order"], folder)
    y = targets_of(X, case["problem"], "numbers")
    loss, _, outputs = case["problem"].partition("-")
    if n == 1 and loss in ("logistic", "hinge"):
        y = np.ones(1)
    rng = np.random.default_rng(d)
    w = rng.standard_normal((d, int(outputs)) if outputs else d).astype(X.dtype) / 10
    y = y if loss == "softmax" else y.astype(X.dtype)
    rows = {"all": None, "some": rng.integers(-n, n, 3 * n), "flags": np.arange(n) % 3 == 0}[case["rows"]]
    found = {}
    for call in ("first", "second"):
        g, gb = gradient(X, y, w, 0.25, loss=loss, rows=rows, threads=case["threads"])
        found |= {f"{call}: g": digest(g), f"{call}: gb": digest(gb)}
    return found


def orders(folder: Path) -> dict[str, str]:
    """``epoch_order`` up to and beyond the rows that are shuffled in memory."""
    from numbasgd import epoch_order

    samplings = ("reshuffle", "once", "replacement", "sequential")
    return {
        f"{sampling}, {n} rows, epoch {epoch}": digest(epoch_order(SEED, epoch, n, sampling))
        for sampling in samplings for n in (1, 100, 4096, 4097, 50_000) for epoch in (0, 3)
    }  # fmt: skip


def twin(folder: Path) -> dict[str, str]:
    """The embedded data, the chapter's runs on it, and the noise of its gradients."""
    from numbasgd import airfoil_twin, gradient_noise, train, train_chapter

    X, y = airfoil_twin()
    found = {"X": digest(X), "y": digest(y), **hashes_of(train(seed=SEED), X, "defaults: ")}
    for name, fit in train_chapter(X, y).items():
        found |= hashes_of(fit, X, f"{name}: ")
    found["noise"] = repr(gradient_noise(X, y, draws=20, seed=SEED))
    return found


def refused(folder: Path) -> dict[str, str]:
    """Errors for arguments that are not as described."""
    from numbasgd import train

    X, y = np.ones((20, 3)), np.arange(20.0)
    X[:, 0] = y
    fit = train(X, y, seed=SEED, lr=1e-3)
    wrong: tuple[dict[str, Any], ...] = (
        {"loss": "cubic"}, {"sampling": "none"}, {"batch_size": 0}, {"batch_size": 21}, {"batch_size": 1.5},
        {"epochs": -1}, {"lr": -1.0}, {"lr": "fast"}, {"lr": [0.1]}, {"lr": 1e-60}, {"momentum": 1.0},
        {"nesterov": True}, {"average": -1}, {"l1": -1.0}, {"l2": "much"}, {"intercept": 1},
        {"standardize": "yes"}, {"validation_fraction": 1.0}, {"validation_fraction": 0.01}, {"tol": "small"},
        {"patience": 0}, {"eval_every": 0}, {"eval_every": "step"}, {"callback": 3}, {"seed": -1},
        {"checkpoint_every": 3}, {"threads": 0}, {"init": 3}, {"init": (np.ones(2), 0.0)}, {"progress": 3},
        {"sample_weight": np.zeros(20)}, {"sample_weight": np.ones(3)}, {"loss": "logistic"},
        {"resume": 3}, {"resume": fit, "momentum": 0.5}, {"resume": fit, "epochs": 1},
        {"resume": fit, "sample_weight": np.ones(20)}, {"resume": fit, "init": (np.ones(3), 0.0)},
        {"resume": fit, "lr": 0.5, "epochs": 4}, {"resume": folder / "nowhere.fit"},
    )  # fmt: skip
    found = {}
    for arguments in wrong:
        told: dict[str, str] = {}
        recorded(lambda given=arguments: train(X, y, **given), told, folder)
        shown = ", ".join(f"{k}={v!r}" for k, v in arguments.items() if k != "resume")
        found[f"train({'resume, ' * ('resume' in arguments)}{shown})"] = told.get("error", "no error")
    return found


def calls() -> dict[str, Call]:
    """Name -> what gives the hashes of calls that are no training."""
    found: dict[str, Call] = {}
    for case in covering(_GRADIENTS, lambda a, x, b, y: True, SEED):
        name = "gradient " + " ".join(f"{key}={value}" for key, value in case.items())
        found[name] = lambda folder, case=case: gradient(case, folder)
    return {**found, "epoch_order": orders, "embedded data": twin, "wrong arguments": refused}
