"""Measure kernels under this machine's roofline: the speed that they reach, and the speed that they could.

A kernel does ``flop`` operations on ``bytes`` of compulsory traffic; their ratio is its arithmetic intensity.
Its speed is at most the multiply-add peak, and at most intensity x bandwidth: the lower of the two is the roof
(Williams, Waterman, Patterson 2009).  The bandwidth is that of the fastest level which holds the data, since a
kernel is timed repeatedly on the same data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.machine import peaks
from numbasgd.machine.bounds import Limits, fma_bound, limits_of, roofline_bound
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.machine.timing import aligned, time_call
from numbasgd.matmul.verify import WrongResultError

SCHEMA = 1
SIZES = (256, 1024)
SECONDS, QUICK_SECONDS = 43.0, 12.5  # that ``roofline`` may take: 45 and 15 with what began in time
GRADIENTS = ((1500, 5), (100_000, 32), (200_000, 64))


@dataclass(frozen=True)
class Place:
    """A kernel's place: flop per byte, GFLOP/s, the level that holds its data, and the roof at that intensity.

    limit : what sets the roof, "FMA" or the level's name.
    peak_share, roofline_share : its speed as a share of the multiply-add peak, and of the roof.
    """

    intensity: float
    gflops: float
    level: str
    roof: float
    limit: str
    peak_share: float
    roofline_share: float


@dataclass(frozen=True)
class Point:
    """A kernel: ``name`` within ``group``, a product's size or "gradient"."""

    name: str
    group: str
    place: Place


@dataclass(frozen=True)
class Roofline:
    """The limits of one thread, and the kernels that were placed under them.

    left_out : kernels that were too slow or came too late, with the seconds of a call, 0 where unknown.
    seconds : what all of it took.
    """

    dtype: str
    limits: Mapping[str, Any]
    points: tuple[Point, ...]
    left_out: Mapping[str, float]
    seconds: float
    machine: Mapping[str, Any]

    def table(self) -> str:
        """The kernels and their places as text."""
        from numbasgd.render.roofline_text import roofline_table

        return roofline_table(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw ceilings and kernels; returns the axes."""
        from numbasgd.render.roofline_plot import plot_roofline

        return plot_roofline(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields by name, "schema" and "kind".

        "points" : for each kernel its "name" (a rung's, or rows x columns of a gradient), its "group" (the
        product's size, or "gradient") and the fields of ``Place``.
        "limits" : the ceilings, as ``numbasgd.machine.peaks.limits`` tells them: "fma" by dtype and threads in
        GFLOP/s, and "levels", each with "name", "bytes", "read" in GB/s and "latency" in ns.
        "machine" : the fingerprint, "versions" in it.
        """
        return {
            "schema": SCHEMA,
            "kind": "roofline",
            "dtype": self.dtype,
            "points": [{"name": p.name, "group": p.group, **asdict(p.place)} for p in self.points],
            "left_out": dict(self.left_out),
            "limits": dict(self.limits),
            "seconds": self.seconds,
            "machine": dict(self.machine),
        }


def place(
    limits: Limits, *, flop: float, n_bytes: float, seconds: float, dtype: str, working_set: float = 0
) -> Place | None:
    """The place of a one-thread kernel, or None if it does no arithmetic or its dtype was not measured.

    n_bytes : the compulsory traffic.  working_set : bytes that a level must hold, where that is another number.
    """
    if not (flop > 0 and n_bytes > 0 and seconds > 0):
        return None
    level = limits.level(working_set or n_bytes)
    compute = fma_bound(limits, flop=flop, dtype=dtype, threads="one")
    least = roofline_bound(
        limits, flop=flop, bytes=n_bytes, dtype=dtype, threads="one", working_set=working_set
    )
    if level is None or compute is None or least is None:
        return None
    rates = [flop / t / 1e9 for t in (seconds, least.seconds)]
    shares = [t / seconds for t in (compute.seconds, least.seconds)]
    return Place(flop / n_bytes, rates[0], level.name, rates[1], least.name, shares[0], shares[1])


def roofline(
    dtype: str = "float32",
    quick: bool = False,
    *,
    limits: Mapping[str, Any] | None = None,
    deadline: Deadline | None = None,
) -> Roofline:
    """Measure the limits, every rung at 256 and 1024, and the gradient; one thread.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    quick : bool
        Fewer rounds.
    limits : mapping, optional
        Those of ``memory()``, in place of a measurement of their own.
    deadline : Deadline, optional
        After ``SECONDS``, or ``QUICK_SECONDS``, if left out.  What does not fit is left out, the slowest rungs
        first.

    Returns
    -------
    Roofline

    Raises
    ------
    ValueError
        For another dtype, or limits that are none.
    WrongResultError
        If a result is wrong.

    Examples
    --------
    >>> from numbasgd import experiments
    >>> from numbasgd.machine.deadline import Deadline
    >>> found = experiments.roofline(quick=True, deadline=Deadline(6.0))
    >>> all(point.place.gflops > 0 for point in found.points)
    True
    >>> found.to_dict()["limits"]["fma"]["float32"]["one"]["value"] > 0
    True
    """
    from numbasgd.experiments import _product

    check.choice(dtype, "dtype", ("float32", "float64"))
    deadline = deadline or Deadline(QUICK_SECONDS if quick else SECONDS)
    begun = deadline.elapsed()
    found = limits
    if found is None:
        found = peaks.limits(quick, deadline=deadline.part(0.5), is_complete=False)
    known = limits_of(found)
    if known is None:
        raise ValueError(
            "limits is no measurement of limits; expected memory().limits. Pass that, or leave it out."
        )
    points: list[Point] = []
    left_out: dict[str, float] = {}
    late: set[str] = set()
    for size in SIZES:
        if deadline.is_over():
            left_out[f"all-{size}"] = 0.0
            continue
        deadline.tell(f"rungs at {size}")
        measured = _product.measure(
            size, dtype, seconds=0.05 if quick else 0.2, deadline=deadline.part(0.7), without=late
        )
        late |= {name for name, seconds in measured.left_out.items() if seconds == 0}
        left_out.update({f"{name}-{size}": seconds for name, seconds in measured.left_out.items()})
        left_out.update({f"{name}-{size}": 0.0 for name in late})
        n_bytes = 3 * size * size * np.dtype(dtype).itemsize
        for row in measured.rows:
            there = place(known, flop=2 * size**3, n_bytes=n_bytes, seconds=row.seconds, dtype=dtype)
            points += [Point(row.rung, f"{size} x {size}", there)] if there else []
    longest = 1.0
    for n, d in GRADIENTS:
        if (left := deadline.left()) < longest:
            left_out[f"gradient-{n}x{d}"] = 0.0
            continue
        deadline.tell(f"gradient of {n} x {d}")
        points.append(_gradient(known, n, d, dtype, 0.05 if quick else 0.3))
        longest = max(longest, left - deadline.left())
    return Roofline(dtype, found, tuple(points), left_out, round(deadline.elapsed() - begun, 2), fingerprint())


def _gradient(limits: Limits, n: int, d: int, dtype: str, seconds: float) -> Point:
    """The mean gradient over n rows of d columns."""
    call, checked = _problem(n, d, dtype)
    checked()
    timing = time_call(call, seconds=seconds)
    n_bytes = (n * d + n + 2 * d) * np.dtype(dtype).itemsize
    there = place(limits, flop=4 * n * d, n_bytes=n_bytes, seconds=timing.median, dtype=dtype)
    assert there is not None
    return Point(f"{n} x {d}", "gradient", there)


def _problem(n: int, d: int, dtype: str) -> tuple[Callable[[], Any], Callable[[], None]]:
    import numbasgd

    rng = np.random.default_rng(0)
    X, y = (aligned(rng.standard_normal(shape).astype(dtype)) for shape in ((n, d), n))
    w = rng.standard_normal(d).astype(dtype)

    def checked() -> None:
        g, _ = numbasgd.gradient(X, y, w, threads=1)
        residuals = X.astype(np.float64) @ w - y
        expected = residuals @ X.astype(np.float64) / n
        # The size of a sum's rounding: |X| |r| u, within a factor that grows slowly with n.
        scale = np.linalg.norm(X) * np.linalg.norm(residuals) / n * np.finfo(dtype).eps / 2
        error = float(np.linalg.norm(g - expected) / scale)
        if not error <= math.sqrt(n + d) + 8:
            raise WrongResultError(
                f"the gradient of {n} x {d} in {dtype} is off by {error:.3g} roundings; expected at most "
                f"{math.sqrt(n + d) + 8:.3g}. Its speed means nothing: please report this."
            )

    return lambda: numbasgd.gradient(X, y, w, threads=1), checked
