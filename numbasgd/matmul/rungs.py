"""``RUNGS``: the one table of the ladder, which feeds dispatch, tests, benches, commands and README."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Rung:
    """One way to compute a product.

    name : the same everywhere.  idea : what it adds to the rung below, in five words.
    reason : why it is faster than the rung before, in a sentence; of the first of its kind, what limits it.
    where : the module for each device that has this rung, and the kernel's name in it.
    any_layout : whether its CPU kernel takes A and B in any layout, read-only ones included, and out with
    contiguous rows or columns; the others take C order alone.
    """

    name: str
    idea: str
    reason: str
    where: Mapping[str, str]
    any_layout: bool = False

    @property
    def is_numpy(self) -> bool:
        """Whether it ends in NumPy's BLAS; no other rung may."""
        return self.name.startswith("numpy")

    @property
    def devices(self) -> tuple[str, ...]:
        """Where it can run."""
        return tuple(self.where)

    def kernel(self, device: str = "cpu") -> Callable[..., Any]:
        """The trusted ``kernel(A, B, out)`` on arrays of ``device``."""
        module, name = self.where[device].split(":")
        return getattr(import_module(f"numbasgd.matmul.{module}"), name)


def _both(name: str, idea: str, reason: str) -> Rung:
    return Rung(name, idea, reason, {"cpu": f"cpu:{name}", "cuda": f"cuda:{name}"})


def _numpy(name: str, kernel: str, idea: str, reason: str) -> Rung:
    return Rung(name, idea, reason, {"cpu": f"numpy_loops:{kernel}"})


RUNGS: Mapping[str, Rung] = MappingProxyType(
    {
        rung.name: rung
        for rung in (
            _both(
                "element",
                "a dot product per entry",
                "It steps down a column of B, a new cache line at every step, and waits for each addition.",
            ),
            _both(
                "column",
                "a matrix-vector product per column",
                "A column of B is gathered once for all rows of A, so the inner loop is contiguous.",
            ),
            _both(
                "full",
                "whole rows, contiguous inner loop",
                "It runs along rows of B and of out: nothing is gathered, no lanes of a register are added up.",
            ),
            _both(
                "blocked",
                "blocks that stay in cache",
                "A block of B stays in cache for all rows of A, and a number that is loaded serves four rows.",
            ),
            Rung(
                "packed",
                "packed panels and register tiles",
                "A tile of sums stays in registers, and panels are copied into the order they are read in.",
                {"cpu": "api:packed"},
                any_layout=True,
            ),
            _numpy(
                "numpy-element",
                "element",
                "a NumPy dot per entry",
                "Python makes a call for each entry, which takes longer than the dot product.",
            ),
            _numpy(
                "numpy-column",
                "column",
                "a NumPy call per column",
                "A call makes a whole column, so there are as many times fewer calls as there are rows.",
            ),
            _numpy(
                "numpy-row",
                "row",
                "a NumPy call per row",
                "Rows of A and of out are contiguous, where columns have to be gathered and scattered.",
            ),
            _numpy(
                "numpy-blocked",
                "blocked",
                "a NumPy call per block",
                "A product with 64 columns uses a number of A 64 times once loaded, one with a vector once.",
            ),
            _numpy(
                "numpy",
                "full",
                "one call to the BLAS",
                "All columns in one call: A is packed once, not once for each block.",
            ),
        )
    }
)
DEFAULT = "packed"


def fastest(device: str) -> str:
    """The rung that ``matmul`` takes when none is named: the last of its own that the device has."""
    return [rung.name for rung in RUNGS.values() if device in rung.devices and not rung.is_numpy][-1]
