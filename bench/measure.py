"""How a bench measures a case: warm up, check, time, check again, and write down what the figure means.

The keys of ``extra_info`` and the ids are read by ``numbasgd compare`` on files from other machines.  They
stay as they are; a change of meaning takes a new ``SCHEMA``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numbasgd.machine import blas, timing
from numbasgd.threads import default as default_threads

SCHEMA = 1
BUDGET = 180.0  # seconds after which the default selection begins no further case; one case more still fits
DTYPES = {"f32": np.float32, "f64": np.float64}

_elapsed = 0.0


def case_name(test: str) -> str:
    """The id of a case from the name of its test: ``matmul-cuda[full-f32-64-all]``."""
    function, bracket, case = test.removeprefix("test_").partition("[")
    return function.replace("_", "-") + bracket + case


def self_timed() -> float:
    """A clock that stands still but for what a bench adds to it; for times that are differences."""
    return _elapsed


def add_elapsed(seconds: float) -> None:
    """Let the clock ``self_timed`` go on by ``seconds``."""
    global _elapsed
    _elapsed += seconds


class Budget:
    """Seconds that the session may still take, shared among the cases that are left."""

    def __init__(self, total: float, n_cases: int) -> None:
        self._end = time.monotonic() + total
        self._left = max(n_cases, 1)

    def share(self) -> float:
        """The seconds of the next case; skips it when nothing is left."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            pytest.skip(
                f"left out: the {BUDGET:.0f} s of the default selection are used up (--bench-full: no limit)"
            )
        share = remaining / self._left
        self._left = max(self._left - 1, 1)
        return share


class Measure:
    """The fixture ``measure``: call it once in a bench."""

    def __init__(self, benchmark: Any, seconds: float, min_rounds: int, budget: Budget | None) -> None:
        self._benchmark = benchmark
        self._seconds = seconds
        self._min_rounds = min_rounds
        self._budget = budget

    def __call__(
        self,
        func: Callable[[], Any],
        *,
        check: Callable[[], tuple[float, float]],
        ladder: str,
        case: str,
        reference: str | None,
        kind: str,
        threads: str = "one",
        uses_blas: bool = False,
        device: str = "cpu",
        is_self_timed: bool = False,
        rounds: int | None = None,
        **info: Any,
    ) -> None:
        """Time ``func()`` as ``case`` of ``ladder``.

        check : after a call, gives the residual of its result and the limit; above it the bench fails.
        threads : "one" holds the BLAS to one thread, "all" leaves it as it is; ``func`` does so for our own.
        is_self_timed : the bench's clock is ``self_timed``, so a round is one call.
        rounds : so many, and no warm-up before; None: as many as the time allows.
        info : plain JSON values for ``extra_info``.
        """
        seconds = self._seconds if self._budget is None else min(self._seconds, self._budget.share())
        with blas.one_thread() if threads == "one" else contextlib.nullcontext():
            ours = 1 if threads == "one" else default_threads()
            n_threads = blas.describe()["threads"] if uses_blas else 0 if device == "cuda" else ours
            compiling, before, calls = 0.0, 0.0, 1
            if rounds is None:
                first = timing.elapsed(func)
                before = self._checked(check, case)[0]
                once = timing.elapsed(func)
                compiling = max(first - once, 0.0)
                once = once if once > 0.1 else min(once, timing.elapsed(func))
                rounds, calls = timing.plan(once, seconds, self._min_rounds)
            self._benchmark.group = ladder
            self._benchmark.pedantic(func, rounds=rounds, iterations=1 if is_self_timed else calls)
            residual, limit = self._checked(check, case)
        self._benchmark.extra_info.update(
            schema=SCHEMA,
            kind=kind,
            case=case,
            ladder=ladder,
            reference=reference,
            device=device,
            threads=threads,
            n_threads=n_threads,
            compile_seconds=compiling,
            residual=max(residual, before),
            residual_limit=limit,
            **info,
        )

    def _checked(self, check: Callable[[], tuple[float, float]], case: str) -> tuple[float, float]:
        residual, limit = check()
        if not residual <= limit:
            self._benchmark.has_error = True  # keeps its time out of the file and the table
            pytest.fail(
                f"{case} gives a wrong result: residual {residual:.3g}, limit {limit:.3g}", pytrace=False
            )
        return float(residual), float(limit)

    def add(self, **info: Any) -> None:
        """Write more plain JSON values beside the case, known only after it ran."""
        self._benchmark.extra_info.update(info)
