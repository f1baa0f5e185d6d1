"""The BLAS behind NumPy: which it is, which kernel it runs, how many threads it takes, and how to limit them.

The answers come from threadpoolctl, or without it from the C functions of the OpenBLAS in NumPy's wheels.  For
any other BLAS without threadpoolctl they are "unknown", and it cannot be limited to one thread; commands then
say so.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

UNKNOWN = "unknown"


def describe() -> dict[str, Any]:
    """Name, version, *running* kernel and thread count, in plain JSON values.

    ``numpy.show_config`` prints the kernel that the library was built on; the running one is what the
    library chose for this CPU, or what ``OPENBLAS_CORETYPE`` told it.
    """
    found = _from_threadpoolctl() or _from_openblas()
    if found is None:
        config: Any = np.show_config(mode="dicts")
        built = config.get("Build Dependencies", {}).get("blas", {})
        found = {"name": built.get("name", UNKNOWN), "version": built.get("version", UNKNOWN)}
    return {"name": UNKNOWN, "version": UNKNOWN, "kernel": UNKNOWN, "threads": UNKNOWN, **found}


@contextlib.contextmanager
def one_thread() -> Iterator[int | None]:
    """Limit the BLAS to one thread; yields 1, or None when this BLAS cannot be limited.

    Numba's own threads are not touched.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        with _openblas_one_thread() as threads:
            yield threads
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield 1 if describe()["threads"] == 1 else None


def _from_threadpoolctl() -> dict[str, Any] | None:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    if not found:
        return None
    # SciPy brings a second OpenBLAS; the one beside NumPy is meant.
    found.sort(key=lambda info: "numpy" not in info.get("filepath", ""))
    info = found[0]
    return {
        "name": info["internal_api"],
        "version": info.get("version") or UNKNOWN,
        "kernel": info.get("architecture") or UNKNOWN,
        "threads": info["num_threads"],
    }


def _from_openblas() -> dict[str, Any] | None:
    config = _openblas("get_config", ctypes.c_char_p)
    kernel = _openblas("get_corename", ctypes.c_char_p)
    threads = _openblas("get_num_threads", ctypes.c_int)
    if config is None or kernel is None or threads is None:
        return None
    words = config().decode().split()  # "OpenBLAS 0.3.31 DYNAMIC_ARCH NO_AFFINITY SkylakeX MAX_THREADS=64"
    return {
        "name": "openblas",
        "version": words[1] if len(words) > 1 else UNKNOWN,
        "kernel": kernel().decode(),
        "threads": threads(),
    }


@contextlib.contextmanager
def _openblas_one_thread() -> Iterator[int | None]:
    get, put = _openblas("get_num_threads", ctypes.c_int), _openblas("set_num_threads", None)
    if get is None or put is None:
        yield None
        return
    before = get()
    put(1)
    try:
        yield 1
    finally:
        put(before)


def _openblas(name: str, restype: Any) -> Callable[..., Any] | None:
    """OpenBLAS's C function ``openblas_<name>`` from the library that NumPy carries, or None."""
    home = Path(np.__file__).parent
    for folder in (home.parent / "numpy.libs", home / ".dylibs"):
        for path in folder.glob("*openblas*"):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for symbol in (f"{p}openblas_{name}{s}" for p in ("scipy_", "") for s in ("64_", "")):
                if hasattr(library, symbol):
                    function = getattr(library, symbol)
                    function.restype = restype
                    return function
    return None
