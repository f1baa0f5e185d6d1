"""Measure the ladder of one product: every rung and the BLAS, interleaved and checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.machine.peaks import fma_peak
from numbasgd.machine.timing import Timing, aligned, duration, elapsed, one_blas_thread, time_together
from numbasgd.matmul import RUNGS, verify
from numbasgd.matmul.numpy_loops import BLOCK

SCHEMA = 1
REFERENCE = "numpy"
MOST = 16384  # a side; three float64 matrices of it are 6 GB
PATIENCE = 3.0  # seconds that a call may take, unless ``is_complete``
_FEWEST = 3  # rounds of a rung
_PROBE = 128  # the side of the product that tells how long a larger one takes
_FAR = 4  # times as long as that tells it may take, where a larger one no longer lies in the same caches
# How long kernels compile, as multiples of the shortest, which takes about ``_SHORTEST`` seconds of a usual
# core.
_COMPILE = {"element": 1, "full": 1, "column": 2, "blocked": 8, "packed": 25}
_SHORTEST = 0.11


@dataclass(frozen=True)
class Row:
    """One rung: ``seconds`` is the median of a call, ``q1`` and ``q3`` the quartiles over ``rounds``.

    gflops : 2mnk / seconds / 1e9.  share : of the BLAS's speed, None without it.
    error : the largest absolute error of an entry; error_share : the largest as a share of its bound.
    residual : Freivalds' residual, at most ``residual_limit``.
    """

    rung: str
    idea: str
    seconds: float
    q1: float
    q3: float
    rounds: int
    gflops: float
    share: float | None
    error: float
    error_share: float
    residual: float
    residual_limit: float


@dataclass(frozen=True)
class Ladder:
    """The rows in ladder order, the reference last, and what they belong to.

    left_out : rungs that were not timed, with the estimated seconds of a call, 0 where that is unknown.
    blas_threads : threads that the BLAS ran on, None where unknown.
    peak : GFLOP/s of a loop of multiply-adds in registers, None for a GPU.
    """

    size: int
    dtype: str
    device: str
    rows: tuple[Row, ...]
    left_out: Mapping[str, float]
    blas_threads: int | None
    peak: float | None
    machine: Mapping[str, Any]

    def __getitem__(self, rung: str) -> Row | None:
        """The row of a rung, or None when it was left out."""
        return next((row for row in self.rows if row.rung == rung), None)

    @property
    def interpreter_cost(self) -> float | None:
        """How many times as long the interpreter takes for the same loops, with the BLAS's dot products."""
        slow, fast = self["numpy-element"], self["element"]
        return slow.seconds / fast.seconds if slow and fast else None

    @property
    def blocks(self) -> str | None:
        """A sentence on what ``numpy-blocked`` reaches beside one call, and why the chapter found otherwise."""
        blocked, one = self["numpy-blocked"], self[REFERENCE]
        if blocked is None or one is None or self.size <= BLOCK:
            return None
        share, calls = one.seconds / blocked.seconds, math.ceil(self.size / BLOCK)
        link = ":" if share < 1 else ", although"
        return (
            f"numpy-blocked reaches {100 * share:.3g} % of the speed of one call{link} each of its {calls} calls "
            "packs all of A again, and copies what it made. The chapter printed twice the speed for it, since "
            "its one call ran first, cold."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields by name, "schema" and "kind"; "rows" with the fields of ``Row``."""
        return {
            "schema": SCHEMA,
            "kind": "ladder",
            **{name: getattr(self, name) for name in ("size", "dtype", "device", "blas_threads", "peak")},
            "reference": REFERENCE,
            "rows": [asdict(row) for row in self.rows],
            "left_out": dict(self.left_out),
            "interpreter_cost": self.interpreter_cost,
            "machine": dict(self.machine),
        }


def measure(
    size: int = 256,
    dtype: str = "float32",
    device: str = "cpu",
    *,
    seconds: float = 0.5,
    is_complete: bool = False,
    deadline: Deadline | None = None,
    without: Collection[str] = (),
) -> Ladder:
    """Time every rung that ``device`` has on a product of two ``size`` x ``size`` matrices.

    One thread for the compiled rungs and for the BLAS.  On a GPU the reference is still the BLAS on this
    machine's CPU, and the matrices stay on the card.

    Parameters
    ----------
    size : int
        From 1 to 16384.
    dtype : {"float32", "float64"}
    device : {"cpu", "cuda"}
    seconds : float
        Seconds spent on each rung, about.
    is_complete : bool
        Whether to time even rungs that need more than a few seconds a call.
    deadline : Deadline, optional
        The slowest rungs are left out if all of them would take longer; the reference never is.
    without : collection of str, optional
        Rungs that are neither measured nor named as left out.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.
    DeviceError
        If ``device`` is "cuda" and no card can be used.
    WrongResultError
        If a rung's result is not the product.
    """
    size = check.integer(size, "size", low=1, high=MOST, hint="Pass 256 for the chapter's product.")
    check.choice(dtype, "dtype", ("float32", "float64"))
    check.choice(device, "device", ("cpu", "cuda"))
    seconds = check.real(seconds, "seconds", positive=True, hint="Pass the seconds to spend on each rung.")
    on_device = [name for name, rung in RUNGS.items() if device in rung.devices or name == REFERENCE]
    names = [name for name in on_device if name not in without]
    with one_blas_thread() as blas_threads:
        is_selective = size > 2 * _PROBE and not is_complete
        left_out = _too_slow(names, size, dtype, device, seconds, deadline) if is_selective else {}
        names = [name for name in names if name not in left_out]
        A, B = _operands(size, dtype)
        results = {name: aligned(np.full((size, size), np.nan, dtype)) for name in names}
        calls, fetch = _calls(names, A, B, results, device)
        exact = verify.Exact(A, B)
        if is_selective or deadline is not None:  # an estimate may be wrong; a call is not
            taken = _seconds_each(calls, names, seconds, deadline)
            left_out.update(_beyond_patience(taken) if is_selective else {})
            names = [name for name in names if name not in left_out]
        if deadline is not None:
            checking = elapsed(lambda: _checked(REFERENCE, A, B, results[REFERENCE], exact))
            taken = {name: taken[name] for name in names}
            left_out.update(_beyond_deadline(taken, seconds, deadline, checking))
            names = [name for name in names if name not in left_out]
        left_out = {name: s if math.isfinite(s) else 0.0 for name, s in left_out.items()}
        timings = time_together({name: calls[name] for name in names}, seconds=seconds, min_rounds=_FEWEST)
        fetch()
        peak = fma_peak(dtype) if device == "cpu" else None
    rows = [_row(name, A, B, results[name], timings, exact) for name in names]
    return Ladder(size, dtype, device, tuple(rows), left_out, blas_threads, peak, fingerprint())


def _operands(size: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    A, B = (aligned(rng.standard_normal((size, size)).astype(dtype)) for _ in range(2))
    return A, B


def _calls(
    names: list[str], A: np.ndarray, B: np.ndarray, results: Mapping[str, np.ndarray], device: str
) -> tuple[dict[str, Callable[[], Any]], Callable[[], None]]:
    """A call for each rung, and a function that copies results from the GPU to the host."""
    calls: dict[str, Callable[[], Any]] = {}
    on_card: dict[str, Any] = {}
    if device == "cuda":
        from numbasgd import device as card

        card.require()
        A_card, B_card = card.to_device(A), card.to_device(B)
        on_card = {name: card.to_device(results[name]) for name in names if name != REFERENCE}
    for name in names:
        if name in on_card:
            kernel = RUNGS[name].kernel("cuda")

            def call(kernel=kernel, out=on_card[name]):
                kernel(A_card, B_card, out)
                card.synchronize()

        else:
            kernel = RUNGS[name].kernel("cpu")

            def call(kernel=kernel, out=results[name]):
                kernel(A, B, out)

        calls[name] = call

    def fetch() -> None:
        for name, out in on_card.items():
            results[name][...] = card.to_host(out)

    return calls, fetch


def _too_slow(
    names: list[str], size: int, dtype: str, device: str, seconds: float, deadline: Deadline | None
) -> dict[str, float]:
    """Rungs that would take more than ``PATIENCE`` seconds a call or do not fit before ``deadline``.

    Their seconds are extrapolated from two small products.  That of ``packed`` is taken for the reference's:
    its small products have kernels of their own, which would only be compiled for this.
    """
    probed = [name for name in names if name != "packed"]
    taken = []
    for side in (_PROBE // 2, _PROBE):
        A, B = _operands(side, dtype)
        zeros = {name: aligned(np.zeros((side, side), dtype)) for name in probed}
        calls, _ = _calls(probed, A, B, zeros, device)
        taken.append(_seconds_each(calls, probed, seconds, deadline))
    estimates = {}
    for name in probed:
        small, large = taken[0][name], taken[1][name]
        if math.isinf(large):
            estimates[name] = large
            continue
        power = min(max(math.log2(large / small), 2.0), 3.0)  # calls grow with n^2, operations with n^3
        estimates[name] = large * (size / _PROBE) ** power
    estimates.update({name: estimates[REFERENCE] for name in names if name not in probed})
    too_slow = _beyond_patience(estimates)
    if deadline is not None:
        at_most = {name: _FAR * s for name, s in estimates.items() if name not in too_slow}
        beyond = _beyond_deadline(at_most, seconds, deadline)
        too_slow.update({name: estimates[name] for name in beyond})
    return too_slow


def _seconds_each(
    calls: Mapping[str, Callable[[], Any]], names: list[str], seconds: float, deadline: Deadline | None
) -> dict[str, float]:
    """Seconds of a call after one that compiles; infinite for those that ``deadline`` leaves no time.

    Those that compile for longest come last, and none begins that would compile beyond the deadline, by what
    the others took or, where they came from the cache, by what is usual.  ``seconds`` to measure each of those
    that have compiled are kept.
    """
    taken: dict[str, float] = {}
    compiled, spent = 0, 0.0
    for name in sorted(names, key=lambda name: (name != REFERENCE, _COMPILE.get(name, 0), -names.index(name))):
        cost, kept = _COMPILE.get(name, 0), 2 * seconds * len(taken)
        is_late = deadline is not None and (
            deadline.left() <= cost * spent / max(1, compiled) + kept
            or deadline.work_left() <= cost * _SHORTEST + kept
        )
        if is_late and name != REFERENCE:
            taken[name] = math.inf
            continue
        first = taken[name] = elapsed(calls[name])
        if cost:
            taken[name] = elapsed(calls[name])
            compiled += cost
            spent += max(0.0, first - taken[name])
    return {name: taken[name] for name in names}


def _beyond_deadline(
    taken: Mapping[str, float], seconds: float, deadline: Deadline, checking: float = 0.0
) -> dict[str, float]:
    """The slowest rungs, those that leave no time for all others.

    taken : seconds of a call of each.  checking : seconds to check one's result.
    """
    left = deadline.work_left()
    beyond = {}
    for name, once in sorted(taken.items(), key=lambda of_name: (of_name[0] != REFERENCE, of_name[1])):
        left -= duration(once, seconds, _FEWEST) + checking
        if left < 0 and name != REFERENCE:
            beyond[name] = once
    return beyond


def _beyond_patience(taken: Mapping[str, float]) -> dict[str, float]:
    return {name: s for name, s in taken.items() if s > PATIENCE and name != REFERENCE}


def _checked(
    name: str, A: np.ndarray, B: np.ndarray, C: np.ndarray, exact: verify.Exact
) -> tuple[float, float, float]:
    """Freivalds' residual, the largest error, and the largest as a share of its bound."""
    return (verify.require(A, B, C, f"rung {name!r}"), *exact.largest_error(C))


def _row(
    name: str, A: np.ndarray, B: np.ndarray, C: np.ndarray, timings: Mapping[str, Timing], exact: verify.Exact
) -> Row:
    timing, reference = timings[name], timings.get(REFERENCE)
    residual, error, error_share = _checked(name, A, B, C, exact)
    m, k = A.shape
    return Row(
        rung=name,
        idea=RUNGS[name].idea,
        seconds=timing.median,
        q1=timing.q1,
        q3=timing.q3,
        rounds=timing.rounds,
        gflops=2 * m * k * B.shape[1] / timing.median / 1e9,
        share=reference.median / timing.median if reference else None,
        error=error,
        error_share=error_share,
        residual=residual,
        residual_limit=verify.limit(k),
    )
