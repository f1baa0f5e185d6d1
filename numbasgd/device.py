"""The one door to CUDA: whether there is a card, why not, copy, launch, wait, measure.

Nothing here imports ``numba.cuda`` before it is wanted, and nothing else in the package imports it but
through this module's ``cuda``, because which ``numba.cuda`` that is differs: the target built into Numba,
the package numba-cuda, which replaces it when installed, or Numba's simulator (NUMBA_ENABLE_CUDASIM=1 when
the process starts), which runs kernels slowly on the CPU and counts as a device under its own name.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from numbasgd.errors import DeviceError

# Names that NumPy 2.5 no longer has, and the modules of numba-cuda that look them up while they are imported,
# to register how calls of them are compiled.  Nothing looks them up later.
_STAND_INS = {"row_stack": "vstack", "in1d": "isin", "trapz": "trapezoid"}
_LOOK_UP = ("numba.cuda.np.arraymath", "numba.cuda.np.arrayobj")
_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
_importing, _configuring = threading.RLock(), threading.Lock()


def __getattr__(name: str) -> Any:
    """``cuda``, the module ``numba.cuda``, imported the first time that it is used."""
    if name == "cuda":
        return _cuda()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _cuda() -> Any:
    if "cuda" in globals():
        return globals()["cuda"]
    try:
        with _importing:
            module = importlib.import_module("numba.cuda")
            if importlib.util.find_spec("numba_cuda") is not None and not _is_simulator(module):
                _import_what_looks_up_names()
    except ImportError as error:  # numba-cuda without its bindings, a Numba without the target, ...
        raise DeviceError(_advice(f"numba.cuda cannot be imported ({_line(error)})")) from error
    globals()["cuda"] = module
    return module


def _import_what_looks_up_names() -> None:
    """Import now what numba-cuda imports at its first compile, while NumPy has the names that it expects."""
    with _older_names() as missing:
        for name in _LOOK_UP if missing else ():
            with suppress(
                ModuleNotFoundError
            ):  # an older one uses Numba's own modules, which know what NumPy has
                importlib.import_module(name)


@contextmanager
def _older_names() -> Iterator[list[str]]:
    """NumPy with the names of ``_STAND_INS``; those that it has not are taken away again in the end."""
    with warnings.catch_warnings():  # a NumPy that still has the name may warn about it
        warnings.simplefilter("ignore")
        missing = [name for name in _STAND_INS if not hasattr(np, name)]
    for name in missing:

        def stand_in(*args: Any, _now: str = _STAND_INS[name], **kwargs: Any) -> Any:
            return getattr(np, _now)(*args, **kwargs)

        setattr(np, name, stand_in)
    try:
        yield missing
    finally:
        for name in missing:
            delattr(np, name)


def is_simulator() -> bool:
    """Whether ``numba.cuda`` is Numba's simulator in this process."""
    return _is_simulator(_cuda())


def _is_simulator(module: Any) -> bool:
    return module.synchronize.__module__.startswith("numba.cuda.simulator")


def available() -> bool:
    """Whether device="cuda" works in this process; ``why_not`` says more."""
    return why_not() is None


def why_not() -> str | None:
    """The reason why no CUDA device can be used, in the words of whoever refused, or None."""
    try:
        cuda = _cuda()
    except DeviceError as error:
        return f"numba.cuda cannot be imported ({_line(error.__cause__)})"
    if is_simulator():
        return None
    try:
        cuda.is_available()  # starts the driver; only then is there an error to ask for
        if (refusal := cuda.cuda_error()) is not None:
            return f"the CUDA driver does not start ({_line(refusal)})"
        if len(cuda.gpus) == 0:
            return "the CUDA driver works but shows no device (is CUDA_VISIBLE_DEVICES set?)"
    except Exception as error:  # whatever it is, it is the reason
        return f"the CUDA driver refuses ({_line(error)})"
    try:
        nvvm = importlib.import_module("numba.cuda.cudadrv.nvvm")
        if not nvvm.is_available():
            nvvm.NVVM()  # says what it looked for
            return f"{_target()} does not find NVVM, the compiler in the CUDA toolkit"
    except Exception as error:
        return f"{_target()} does not find NVVM, the compiler in the CUDA toolkit ({_line(error)})"
    return None


def require() -> None:
    """Raise ``DeviceError`` with the true reason unless a device can be used."""
    if (reason := why_not()) is not None:
        raise DeviceError(_advice(reason))


@contextmanager
def checked() -> Iterator[None]:
    """``require``, and what the driver or its compiler raises inside becomes a ``DeviceError``."""
    require()
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("numba.cuda", "cuda.")):
            raise
        if getattr(error, "code", None) == _OUT_OF_MEMORY:
            raise DeviceError(
                "device is 'cuda', but the arrays do not fit into the free memory of the card "
                f"({_line(error)}). Pass smaller arrays, free the card (nvidia-smi lists who uses it), or "
                "pass device='cpu'."
            ) from error
        raise DeviceError(
            f"device is 'cuda', but the card or its compiler failed ({_line(error)}). Check with nvidia-smi "
            "that the driver is as new as the CUDA toolkit, or pass device='cpu'."
        ) from error


def to_device(a: np.ndarray) -> Any:
    """Copy an array to the card, C-ordered."""
    return _cuda().to_device(np.ascontiguousarray(a))


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Make an array on the card, C-ordered and of any content."""
    return _cuda().device_array(shape, dtype)


def to_host(d: Any) -> np.ndarray:
    """Copy an array from the card, once the work queued before is done."""
    return d.copy_to_host()


def synchronize() -> None:
    """Wait until all queued work is done."""
    _cuda().synchronize()


def configure(kernel: Any, blocks: Any, threads: Any) -> Any:
    """``kernel[blocks, threads]`` without the warning that Numba gives for every grid below 128 blocks."""
    dispatcher = sys.modules.get("numba.cuda.dispatcher")
    if is_simulator() or dispatcher is None:
        return kernel[blocks, threads]
    config = dispatcher.config  # Numba's or numba-cuda's own
    with _configuring:
        before = config.CUDA_LOW_OCCUPANCY_WARNINGS
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            return kernel[blocks, threads]
        finally:
            config.CUDA_LOW_OCCUPANCY_WARNINGS = before


def seconds(call: Callable[[], Any], rounds: int = 10) -> list[float]:
    """Time ``call`` on the card by CUDA events, once a round; in the simulator by the host's clock."""
    times = []
    if is_simulator():
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return times
    cuda = _cuda()
    before, after = cuda.event(), cuda.event()
    for _ in range(rounds):
        before.record()
        call()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) * 1e-3)
    return times


def describe() -> dict[str, Any] | None:
    """What the device is, in plain JSON values, or None when there is none."""
    if not available():
        return None
    if is_simulator():
        return {"name": "Numba's CUDA simulator", "simulator": True, "target": _target()}
    cuda = _cuda()
    with checked():
        context = cuda.current_context()
        card = context.device
        name = card.name.decode() if isinstance(card.name, bytes) else str(card.name)
        found: dict[str, Any] = {
            "name": name,
            "simulator": False,
            "target": _target(),
            "compute_capability": ".".join(str(int(part)) for part in card.compute_capability),
            "multiprocessors": int(card.MULTIPROCESSOR_COUNT),
            "memory_bytes": int(context.get_memory_info().total),
            "driver": None,
            "runtime": None,
        }
    with suppress(Exception):  # the versions are a courtesy: how to find them differs between targets
        driver = importlib.import_module("numba.cuda.cudadrv.driver").driver
        found["driver"] = ".".join(str(int(part)) for part in driver.get_version())
    with suppress(Exception):
        found["runtime"] = ".".join(str(int(part)) for part in cuda.runtime.get_version())
    return found


def _target() -> str:
    """Which implementation of ``numba.cuda`` this is, with its version."""
    if importlib.util.find_spec("numba_cuda") is not None:
        return f"numba-cuda {importlib.import_module('numba_cuda').__version__}"
    return f"the target built into numba {importlib.import_module('numba').__version__}"


def _advice(reason: str) -> str:
    return (
        f"device is 'cuda', but no CUDA device can be used: {reason}. Check that nvidia-smi lists a card, "
        "install what it needs with pip install 'numbasgd[cuda]', or pass device='cpu'."
    )


def _line(error: object) -> str:
    """What an error says, on one line, without a full stop."""
    return " ".join(str(error).split()).rstrip(".: ") or type(error).__name__
