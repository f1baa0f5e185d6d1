"""What a GPU costs before it computes: to launch a kernel, to wait for it, and to move data.

Only through ``numbasgd.device``; to be called where there is a card.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from numbasgd import device
from numbasgd.machine.rounds import limit, time_limit

ROUNDS = 30
QUEUED = 100  # launches before one wait
LARGE = 64 << 20  # bytes of a transfer that shows the bandwidth


def limits() -> dict[str, Any]:
    """Launch and transfer costs, each a value with its quartiles and its unit.

    "launch": an empty kernel, until it is done, ns.  "queued": the same, when many are queued before the
    wait.  "to_device", "to_host": a copy of one number, ns, and of 64 MB, GB/s, from NumPy's pageable memory.
    "copy": on the card, GB/s, read and written bytes both counted.
    """
    kernel = device.configure(_nothing(), 1, 1)
    one, large = np.zeros(1, np.float32), np.zeros(LARGE // 4, np.float32)
    one_there, large_there, other = device.to_device(one), device.to_device(large), device.to_device(large)

    def queued() -> None:
        for _ in range(QUEUED):
            kernel(one_there)

    return {
        "launch": _ns(lambda: kernel(one_there)),
        "queued": _ns(queued, 1e9 / QUEUED),
        "to_device_one": _ns(lambda: one_there.copy_to_device(one)),
        "to_host_one": _ns(lambda: one_there.copy_to_host(one)),
        "to_device": _gbs(lambda: large_there.copy_to_device(large), LARGE),
        "to_host": _gbs(lambda: large_there.copy_to_host(large), LARGE),
        "copy": _gbs(lambda: other.copy_to_device(large_there), 2 * LARGE),
    }


def _nothing() -> Callable[..., Any]:
    @device.cuda.jit
    def nothing(x):
        """x := x."""

    return nothing


def _ns(call: Callable[[], Any], scale: float = 1e9) -> dict[str, Any]:
    return {**time_limit(_rates(call), scale), "unit": "ns"}


def _gbs(call: Callable[[], Any], n_bytes: int) -> dict[str, Any]:
    return {**limit(_rates(call), n_bytes / 1e9), "unit": "GB/s"}


def _rates(call: Callable[[], Any]) -> list[float]:
    """Calls a second, each until the card is done; the first, which may compile, left out."""
    rates = []
    for _ in range(ROUNDS + 1):
        device.synchronize()
        start = perf_counter()
        call()
        device.synchronize()
        rates.append(1 / max(perf_counter() - start, 1e-9))
    return rates[1:]
