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
    where : the module for each device that has this rung, and the kernel's name in it.
    any_layout : whether its CPU kernel takes A and B in any layout, read-only ones included, and out with
    contiguous rows or columns; the others take C order alone.
    """

    name: str
    idea: str
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


def _both(name: str, idea: str) -> Rung:
    return Rung(name, idea, {"cpu": f"cpu:{name}", "cuda": f"cuda:{name}"})


def _numpy(name: str, kernel: str, idea: str) -> Rung:
    return Rung(name, idea, {"cpu": f"numpy_loops:{kernel}"})


RUNGS: Mapping[str, Rung] = MappingProxyType(
    {
        rung.name: rung
        for rung in (
            _both("element", "a dot product per entry"),
            _both("column", "a matrix-vector product per column"),
            _both("full", "whole rows, contiguous inner loop"),
            _both("blocked", "blocks that stay in cache"),
            Rung("packed", "packed panels and register tiles", {"cpu": "api:packed"}, any_layout=True),
            _numpy("numpy-element", "element", "a NumPy dot per entry"),
            _numpy("numpy-column", "column", "a NumPy call per column"),
            _numpy("numpy-row", "row", "a NumPy call per row"),
            _numpy("numpy-blocked", "blocked", "a NumPy call per block"),
            _numpy("numpy", "full", "one call to the BLAS"),
        )
    }
)
DEFAULT = "packed"


def fastest(device: str) -> str:
    """The rung that ``matmul`` takes when none is named: the last of its own that the device has."""
    return [rung.name for rung in RUNGS.values() if device in rung.devices and not rung.is_numpy][-1]
