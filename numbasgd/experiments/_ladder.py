"""The ladder: the rungs on products of several sizes and dtypes, as one result."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numbasgd.experiments import _product
from numbasgd.experiments._product import REFERENCE, Ladder
from numbasgd.machine.deadline import Deadline
from numbasgd.matmul import RUNGS

SCHEMA = 1


@dataclass(frozen=True)
class Ladders:
    """The ladder of each product that was measured, in the order of the sizes, then of the dtypes.

    seconds : what all of it took.
    """

    products: tuple[Ladder, ...]
    seconds: float
    machine: Mapping[str, Any]

    def table(self, *, has_chapter_units: bool = False) -> str:
        """A table for each product, and what it shows in sentences.

        has_chapter_units : a column with the chapter's 2/t, which it calls Gflop/s.
        """
        from numbasgd.render.ladder_text import ladders_table

        return ladders_table(self.products, has_chapter_units)

    def plot(self, ax: Any = None) -> Any:
        """Draw the first product's rungs as bars, the measured peak as a line; returns the axes."""
        from numbasgd.render.ladder_plot import plot_ladder

        first = self.products[0]
        title = f"{first.size} x {first.size}, {first.dtype}, {first.device}, one BLAS thread"
        return plot_ladder(first.rows, ax, title=title, peak=first.peak)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values.

        "schema", "kind" : 1 and "ladders".
        "device", "reference" : where the rungs ran, and the name of the rung that is the BLAS.
        "rungs" : in ladder order, the reference last: "name", "idea", "reason" (why it is faster than the one
        before), "is_numpy" (whether it ends in the BLAS), and "speeds": one entry for each product that it was
        timed on, with "size", "dtype", "gflops" (2mnk/t/1e9), "seconds" of a call with its quartiles "q1" and
        "q3" over "rounds", "peak_share" (of the measured peak, None on a GPU), "blas_share", "error" and
        "error_share" (of its bound).
        "products" : "size", "dtype", "peak" in GFLOP/s, "blas_threads", "left_out" (rungs that were not timed,
        with the estimated seconds of a call), "interpreter_cost" (numpy-element / element), "blocks" (a
        sentence on numpy-blocked, or None).
        "seconds" : what all of it took.  "machine" : the fingerprint, "versions" in it.
        """
        names = [name for name in RUNGS if any(found[name] for found in self.products)]
        return {
            "schema": SCHEMA,
            "kind": "ladders",
            "device": self.products[0].device,
            "reference": REFERENCE,
            "rungs": [self._rung(name) for name in names],
            "products": [
                {
                    **{name: getattr(found, name) for name in ("size", "dtype", "peak", "blas_threads")},
                    "left_out": dict(found.left_out),
                    "interpreter_cost": found.interpreter_cost,
                    "blocks": found.blocks,
                }
                for found in self.products
            ],
            "seconds": self.seconds,
            "machine": dict(self.machine),
        }

    def _rung(self, name: str) -> dict[str, Any]:
        rung = RUNGS[name]
        speeds = []
        for found in self.products:
            if (row := found[name]) is not None:
                told = {key: getattr(row, key) for key in _TOLD}
                peak_share = None if found.peak is None else row.gflops / found.peak
                shares = {"peak_share": peak_share, "blas_share": row.share}
                speeds.append({"size": found.size, "dtype": found.dtype, **told, **shares})
        about = {"name": name, "idea": rung.idea, "reason": rung.reason, "is_numpy": rung.is_numpy}
        return {**about, "speeds": speeds}


_TOLD = ("gflops", "seconds", "q1", "q3", "rounds", "error", "error_share")


def ladder(
    sizes: int | Iterable[int] = 256,
    dtypes: str | Iterable[str] = "float32",
    device: str = "cpu",
    *,
    seconds: float = 0.5,
    is_complete: bool = False,
    deadline: Deadline | None = None,
) -> Ladders:
    """Time the same product on every rung, beside NumPy's BLAS: the chapter's first experiment.

    Parameters
    ----------
    sizes : int or sequence of int
        n of a product of two n x n matrices, from 1 to 16384; several give a ladder each.
    dtypes : {"float32", "float64"}, or a sequence of them
    device : {"cpu", "cuda"}
    seconds : float
        Seconds spent on each rung, about.
    is_complete : bool
        Whether to time even rungs that need more than a few seconds a call.
    deadline : Deadline, optional
        What does not fit is left out, the slowest rungs first, and told.

    Returns
    -------
    Ladders

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.
    DeviceError
        If ``device`` is "cuda" and no card can be used.
    WrongResultError
        If a rung's result is not the product.

    Examples
    --------
    >>> from numbasgd import experiments
    >>> found = experiments.ladder(48, seconds=0.002)
    >>> print(found.table())                               # doctest: +ELLIPSIS
    48 x 48 @ 48 x 48, float32, one thread
    ...
    >>> [rung["name"] for rung in found.to_dict()["rungs"]][:5]
    ['element', 'column', 'full', 'blocked', 'packed']
    >>> found.plot().get_xlabel()
    'GFLOP/s (2mnk/t, log scale)'
    """
    begin = time.perf_counter()
    all_sizes = _several(sizes, "sizes", "256 or (256, 1024)")
    all_dtypes = _several(dtypes, "dtypes", '"float32" or ("float32", "float64")')
    pairs = [(size, dtype) for size in all_sizes for dtype in all_dtypes]
    found = []
    for i, (size, dtype) in enumerate(pairs):
        part = None if deadline is None else deadline.part(1 / (len(pairs) - i))
        found.append(
            _product.measure(size, dtype, device, seconds=seconds, is_complete=is_complete, deadline=part)
        )
    return Ladders(tuple(found), round(time.perf_counter() - begin, 3), found[-1].machine)


def _several(given: Any, name: str, example: str) -> list[Any]:
    """One value, or several in a sequence, as a list."""
    values = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not values:
        raise ValueError(f"{name} is empty; expected one or more. Pass for example {example}.")
    return values
