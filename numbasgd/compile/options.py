"""How numbasgd compiles: one decorator, its options each with a reason.

What else is different from ``njit(cache=True)``:

- The cache sees a change of any source file of the package, not of a function's own alone (``cache.py``).
- No folder that can be written to is no error: the code is then compiled in every process.
- A damaged cache file, a full disk, or two processes at once cost a compile, never a call.
- A function that cannot be kept, as with NUMBA_OPT=0, is compiled in every process without a warning.
- Functions made by a factory are told apart by what they close over, by name and value, so a closure
  over an intrinsic or another jitted function is found again.
"""

from __future__ import annotations

import functools
import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import numba

from numbasgd.compile import numba_private
from numbasgd.compile.cache import store_of
from numbasgd.errors import NumbaSGDError

# reassoc and nsz let a sum run in vector lanes, contract lets a*b+c become one FMA.  The full
# ``fastmath=True`` also promises that there is no NaN and no Inf, and then folds isfinite() away.
FASTMATH = {"reassoc", "nsz", "contract"}
# nogil: kernels touch no Python object, so other Python threads may run meanwhile.
# error_model "numpy": no branch for a division by zero in the inner loop.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

# A child that is forked while another thread compiles would find Numba's lock held by a thread that it does
# not have, and wait for ever; so whoever forks waits for the compiler first.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=numba_private.compiler_lock.acquire,
        after_in_parent=numba_private.compiler_lock.release,
        after_in_child=numba_private.compiler_lock.release,
    )


def jit(func: Callable[..., Any] | None = None, *, variant: str = "", **options: Any) -> Any:
    """Compile ``func`` with ``OPTIONS`` (changed by ``options``), kept in numbasgd's cache.

    variant : what tells functions apart that one factory makes.  It becomes part of the name, because two
    of the same name, one compiled and one from the cache, could be taken for each other by the linker.
    """
    if func is None:
        return functools.partial(jit, variant=variant, **options)
    if variant:
        func.__name__ += f"_{variant}"
        func.__qualname__ += f"_{variant}"
    if numba_private.is_jit_disabled():
        return _refusing(func)
    is_inlined = bool(options.get("forceinline"))
    if is_inlined:  # into kernels: a way in from Python and one from C would only take time to compile
        options = {
            "no_cpython_wrapper": True,
            "no_cfunc_wrapper": True,
            "pipeline_class": numba_private.PartCompiler,
            **options,
        }
    dispatcher = numba.njit(**{**OPTIONS, **options})(func)
    if is_inlined:
        numba_private.refuse_python(dispatcher)
    if (store := store_of(func)) is not None:
        numba_private.keep(dispatcher, store)
    return dispatcher


def _refusing(func: Callable[..., Any]) -> Callable[..., Any]:
    """What stands for a kernel under NUMBA_DISABLE_JIT; the package can still be imported and asked."""

    @functools.wraps(func)
    def refuse(*args: Any, **options: Any) -> Any:
        raise NumbaSGDError(
            "NUMBA_DISABLE_JIT is set; expected kernels that Numba compiles, since they work with vector "
            "registers that Python has none of. Unset NUMBA_DISABLE_JIT, or set it to 0."
        )

    refuse.compile = refuse  # type: ignore[attr-defined]
    return refuse


_MANY = 20_000  # young objects, as only a compile leaves them


class _Uncollected(threading.local):
    """``with uncollected:`` around a compile: the collector's walks over all of Numba take a tenth of it."""

    _depth, _was_on = 0, False

    def __enter__(self) -> None:
        if self._depth == 0:
            self._was_on = gc.isenabled()
            gc.disable()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._was_on:
            if gc.get_count()[0] > _MANY and gc.get_freeze_count() == 0:
                # Most of what a compile leaves stays, so it goes to the oldest generation without a walk.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


uncollected = _Uncollected()
