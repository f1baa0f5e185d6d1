"""``matmul``: the checked way to every rung of the ladder."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from numbasgd import check
from numbasgd.errors import WrongResultError
from numbasgd.matmul.gemm.dispatch import DEFAULT_THREADS, DONE, multiply
from numbasgd.matmul.long_sums import add_up
from numbasgd.matmul.rungs import RUNGS, Rung, fastest

F = TypeVar("F", bound=Callable[..., Any])


def _with_fast_call(function: F) -> F:
    """``function`` behind the built-in function of ``fastcall.py``; itself where that file was deleted."""
    name = "numbasgd.matmul.fastcall"
    try:
        fastcall = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return function
    return fastcall.in_front_of(function)


@_with_fast_call
def matmul(
    A: Any,
    B: Any,
    *,
    rung: str | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """The matrix product ``A @ B`` of two 2-D arrays, computed by one rung of the ladder.

    It is ``np.matmul`` for float32 and float64: any memory layout, any size including 0, NaN and Inf travel
    the same way.

    Parameters
    ----------
    A : array_like, shape (m, k)
        float32 or float64.  Integers and booleans become float64; with one float32 and one float64 the
        product is computed in float64, as NumPy would.
    B : array_like, shape (k, n)
    rung : str, optional
        A name from ``numbasgd.RUNGS``; by default the fastest that the device has.
    out : ndarray, shape (m, n), optional
        Where to write the product: the dtype of the result, any layout, no memory shared with A or B.
    threads : int, optional
        The most threads that ``packed`` may use; by default as many as pay, at most one a core or
        ``NUMBASGD_NUM_THREADS``.  The result is the same to the last bit.  Other rungs use one.
    device : {"cpu", "cuda"}
        Where to compute.  With "cuda", A, B and the product are copied to the card and back.

    Returns
    -------
    ndarray, shape (m, n)
        ``out`` if it was given, else a new C-ordered array.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described; the message says which, and what to do.
    DeviceError
        If ``device`` is "cuda" and no card can be used.

    Notes
    -----
    Entry by entry ``|out - A @ B| <= 2 g |A| |B|`` with ``g = k u / (1 - k u)`` and ``u`` the unit roundoff,
    the bound for any order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
    eq. 3.13), as long as ``|A| |B|`` does not overflow.  Where ``k u`` comes near 1, in float32 from k = 2^22,
    that bound says little; but the sums of ``element``, ``column``, ``full`` and ``blocked`` are cut into
    partial sums of 2^16 terms, so for them it holds with ``2^16 + k / 2^16`` in place of ``k`` once that is
    less.  The rungs ``numpy*`` leave the order of summation to the BLAS.

    The usual call goes through a built-in function whose code Numba compiled, which saves several
    microseconds.  ``NUMBASGD_FASTCALL=0`` turns it off; on versions of Python that it was not tested on, and
    where its file is deleted, the same product is called from Python.  Among the variants of ``packed`` the
    one that a cost model expects to be fastest here is taken; ``matmul_plan`` names it.
    """
    A = check.array(A, "A", 2)
    B = check.array(B, "B", 2)
    A, B = check.same_dtype(A, B)
    if A.shape[1] != B.shape[0]:
        raise ValueError(
            f"A has shape {A.shape} and B has shape {B.shape}; expected as many columns in A "
            f"({A.shape[1]}) as rows in B ({B.shape[0]}). {_transpose_hint(A, B)}"
        )
    check.choice(device, "device", ("cpu", "cuda"))
    chosen = RUNGS[fastest(device) if rung is None else check.choice(rung, "rung", RUNGS)]
    shape = (A.shape[0], B.shape[1])
    if out is not None:
        check.out(out, "out", shape, A.dtype, {"A": A, "B": B})
    if device not in chosen.devices:
        raise ValueError(
            f"rung is {rung!r}, which has no kernel for device={device!r}; expected one of "
            f"{', '.join(repr(r.name) for r in RUNGS.values() if device in r.devices)}. Pass one of these."
        )
    n_threads = DEFAULT_THREADS if threads is None else check.threads(threads)
    if device == "cpu" and chosen.any_layout:
        return _matmul_packed(A, B, out, n_threads)
    is_direct = out is not None and out.flags.c_contiguous and out.flags.aligned and type(out) is np.ndarray
    result = out if is_direct and out is not None else np.empty(shape, A.dtype)
    _run(chosen, device, A, B, result)
    if out is not None and result is not out:
        out[...] = result
        return out
    return result


def packed(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out := A @ B in one thread: the rung of that name, with the contract of the kernels in ``cpu``."""
    matmul(A, B, out=out, threads=1)


def _matmul_packed(A: np.ndarray, B: np.ndarray, out: np.ndarray | None, threads: int) -> np.ndarray:
    result = np.empty((A.shape[0], B.shape[1]), A.dtype) if out is None else out
    if result.flags.aligned and multiply(A, B, result, threads) == DONE:
        return result
    whole = np.empty(result.shape, A.dtype)  # neither rows nor columns of out are contiguous
    if multiply(A, B, whole, threads) != DONE:
        raise WrongResultError("the packed product did not run; expected every C-ordered result to be written")
    result[...] = whole
    return result


def _run(rung: Rung, device: str, A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out := A @ B by a kernel that takes C order alone; ``out`` is C-ordered."""
    if device == "cuda":
        add_up(lambda A, B, C: _on_card(rung, A, B, C), A, B, out)
        return
    kernel = rung.kernel(device)
    if rung.is_numpy:
        kernel(check.for_kernel(A), check.for_kernel(B), out)
    else:
        add_up(lambda A, B, C: kernel(check.for_kernel(A), check.for_kernel(B), C), A, B, out)


def _on_card(rung: Rung, A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    from numbasgd import device

    with device.checked():
        on_card = device.empty(out.shape, out.dtype)
        rung.kernel("cuda")(device.to_device(A), device.to_device(B), on_card)
        on_card.copy_to_host(out)


def _transpose_hint(A: np.ndarray, B: np.ndarray) -> str:
    if A.shape[0] == B.shape[0]:
        return "Perhaps A.T @ B is meant."
    if A.shape[1] == B.shape[1]:
        return "Perhaps A @ B.T is meant."
    return "Check which of the two is transposed or cut wrongly."
