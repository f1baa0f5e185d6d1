"""The door to CUDA on any machine: reasons, errors, and that nothing passes through it unasked."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from child import run_python
from conftest import says

import numbasgd
from numbasgd import device
from numbasgd.errors import DeviceError


def synchronize():
    """Stand for the function by whose module the door tells a card from the simulator."""


synchronize.__module__ = "numba.cuda.api"


def fake(*, refusal=None, n_devices=1, **more):
    """What the door asks of ``numba.cuda``."""
    parts = {
        "synchronize": synchronize,
        "is_available": lambda: refusal is None,
        "cuda_error": lambda: refusal,
        "gpus": [None] * n_devices,
    }
    return SimpleNamespace(**{**parts, **more})


@pytest.fixture
def refused(monkeypatch):
    words = "Call to cuInit results in\n  CUDA_ERROR_NO_DEVICE (100):"
    monkeypatch.setattr(device, "cuda", fake(refusal=words), raising=False)
    return "Call to cuInit results in CUDA_ERROR_NO_DEVICE (100)"


def test_importing_numbasgd_imports_no_cuda():
    run_python("""
        import sys
        import numbasgd, numbasgd.device
        numbasgd.matmul([[1.0]], [[1.0]])
        assert not [name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda", "cuda."))]
    """)


def test_without_a_card_the_error_says_what_the_driver_said():
    """A machine without a driver and one whose cards are hidden give different reasons, never none."""
    printed = run_python(
        """
        import numbasgd
        from numbasgd import device
        assert not device.available() and device.describe() is None
        for call in (
            lambda: numbasgd.matmul([[1.0]], [[1.0]], device="cuda"),
            lambda: numbasgd.gradient([[1.0]], [1.0], [1.0], device="cuda"),
            device.require,
        ):
            try:
                call()
            except numbasgd.DeviceError as error:
                assert device.why_not() in str(error)
                print(error)
        """,
        CUDA_VISIBLE_DEVICES="",
        NUMBA_ENABLE_CUDASIM=None,
    )
    first, second, third = printed.splitlines()
    assert first == second == third
    assert "CUDA driver library cannot be found" in first or "NO_DEVICE" in first


def test_the_driver_s_refusal_is_the_reason(refused):
    assert refused in device.why_not()
    assert not device.available()
    with pytest.raises(DeviceError) as error:
        device.require()
    says(error.value, "device is 'cuda'", refused, "nvidia-smi", "numbasgd[cuda]", "device='cpu'")


@pytest.mark.parametrize(
    "call",
    [
        lambda: numbasgd.matmul(np.eye(2), np.eye(2), device="cuda"),
        lambda: numbasgd.gradient(np.eye(2), np.ones(2), np.ones(2), device="cuda"),
    ],
    ids=["matmul", "gradient"],
)
def test_public_calls_never_fall_back(call, refused):
    with pytest.raises(DeviceError, match="CUDA_ERROR_NO_DEVICE"):
        call()


def test_no_device_behind_a_working_driver(monkeypatch):
    monkeypatch.setattr(device, "cuda", fake(n_devices=0), raising=False)
    assert "CUDA_VISIBLE_DEVICES" in device.why_not()


def test_a_driver_that_raises(monkeypatch):
    def is_available():
        raise RuntimeError("Driver missing function: cuDeviceGet.")

    monkeypatch.setattr(device, "cuda", fake(is_available=is_available), raising=False)
    assert device.why_not() == "the CUDA driver refuses (Driver missing function: cuDeviceGet)"


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_missing_compiler(monkeypatch, is_silent):
    def NVVM():
        if not is_silent:
            raise ImportError("libNVVM cannot be found. Do `conda install cudatoolkit`:\nlibnvvm.so")

    nvvm = SimpleNamespace(is_available=lambda: False, NVVM=NVVM)
    real = device.importlib.import_module
    monkeypatch.setattr(device, "cuda", fake(), raising=False)
    monkeypatch.setattr(
        device.importlib, "import_module", lambda name: nvvm if name.endswith("nvvm") else real(name)
    )
    reason = device.why_not()
    assert "does not find NVVM, the compiler in the CUDA toolkit" in reason
    assert ("libNVVM cannot be found" in reason) is not is_silent


def test_numba_cuda_that_cannot_be_imported(monkeypatch):
    def import_module(name):
        raise ImportError("NVIDIA CUDA Python bindings not found.")

    monkeypatch.delattr(device, "cuda", raising=False)
    monkeypatch.setattr(device.importlib, "import_module", import_module)
    assert device.why_not() == "numba.cuda cannot be imported (NVIDIA CUDA Python bindings not found)"
    with pytest.raises(DeviceError, match="bindings not found"):
        device.require()


class CudaAPIError(Exception):
    """Like the driver's error in either implementation."""

    def __init__(self, code, message):
        super().__init__(f"[{code}] {message}")
        self.code = code


CudaAPIError.__module__ = "numba.cuda.cudadrv.driver"


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY", "Pass smaller arrays"),
        (222, "Call to cuModuleLoadData results in CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "as new as"),
    ],
)
def test_what_the_driver_raises_later_becomes_a_device_error(monkeypatch, code, message, hint):
    monkeypatch.setattr(device, "why_not", lambda: None)
    with pytest.raises(DeviceError) as error, device.checked():
        raise CudaAPIError(code, message)
    says(error.value, "device is 'cuda'", message, hint, "device='cpu'")


def test_a_mistake_of_our_own_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(device, "why_not", lambda: None)
    with pytest.raises(ZeroDivisionError), device.checked():
        raise ZeroDivisionError


@pytest.fixture
def numpy_without(monkeypatch):
    """NumPy without the names that it has dropped by version 2.5."""
    for name in device._STAND_INS:
        monkeypatch.setattr(np, name, None, raising=False)  # so that it is put back in the end
        monkeypatch.delattr(np, name)
    return vars(np).copy()


def test_names_that_numpy_dropped_are_there_for_a_moment(numpy_without):
    with pytest.raises(ZeroDivisionError), device._older_names() as missing:
        assert missing == ["row_stack", "in1d", "trapz"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.row_stack([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
            assert np.in1d([1, 2], [2]).tolist() == [False, True]
            assert np.trapz([1, 1, 1]) == 2
        raise ZeroDivisionError
    assert vars(np) == numpy_without


def test_a_name_that_numpy_has_is_left_alone(numpy_without, monkeypatch):
    kept = object()
    monkeypatch.setattr(np, "row_stack", kept, raising=False)
    with device._older_names() as missing:
        assert np.row_stack is kept and missing == ["in1d", "trapz"]
    assert np.row_stack is kept


@pytest.mark.parametrize("has_modules", [True, False])
def test_numba_cuda_finds_the_names_and_nobody_else(has_modules, numpy_without, monkeypatch):
    """An older numba-cuda has no such modules."""
    imported = []

    def import_module(name):
        if name != "numba.cuda":
            imported.append((name, hasattr(np, "row_stack")))
            if not has_modules:
                raise ModuleNotFoundError(name)
        return fake()

    monkeypatch.delattr(device, "cuda", raising=False)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(device.importlib, "import_module", import_module)
    device.cuda.is_available()
    del device.cuda
    assert imported == [("numba.cuda.np.arraymath", True), ("numba.cuda.np.arrayobj", True)]
    assert vars(np) == numpy_without


def test_small_grids_bring_no_warning_and_the_setting_stays():
    run_python(
        """
        import sys, warnings
        warnings.simplefilter("error")
        from numbasgd import device
        from numbasgd.matmul.cuda import _full
        device.configure(_full, 1, 32)
        warnings.simplefilter("always")
        with warnings.catch_warnings(record=True) as caught:
            _full[2, 32]
        assert "occupancy" in str(caught[0].message)
        """,
        NUMBA_ENABLE_CUDASIM=None,
    )


def test_the_simulator_counts_and_is_named():
    printed = run_python(
        """
        import json
        from numbasgd import device
        assert device.available() and device.is_simulator()
        print(json.dumps(device.describe()))
        """,
        NUMBA_ENABLE_CUDASIM="1",
    )
    assert json.loads(printed)["name"] == "Numba's CUDA simulator"
