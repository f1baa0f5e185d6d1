"""What several test files share."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import numbasgd
from numbasgd import device
from numbasgd.sgd import dataset


def pytest_configure():
    """A shell's background job ignores SIGINT, and so would the children that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def airfoil():
    """The real data, prepared as in the chapter; it is not part of the project."""
    folder = os.environ.get("NUMBASGD_DATA_DIR")
    if not folder or not (Path(folder) / "airfoil_self_noise.dat").exists():
        pytest.skip("NUMBASGD_DATA_DIR does not name a folder with airfoil_self_noise.dat")
    return numbasgd.load_airfoil()


@pytest.fixture
def no_airfoil_file(monkeypatch):
    """The file is nowhere on this machine, wherever it is."""

    def find(*args, **options):
        raise numbasgd.DataError("no file")

    monkeypatch.setattr(numbasgd.data.airfoil, "find", find)


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)


@pytest.fixture
def data(rng):
    """120 rows of 5 columns and noisy targets."""
    X = rng.standard_normal((120, 5))
    return X, X @ rng.standard_normal(5) + rng.standard_normal(120)


def held_out(seed: int, n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that ``train`` holds out, and the others."""
    order = numbasgd.epoch_order(seed, 2**61, n)
    return np.sort(order[:count]), np.sort(order[count:])


def mapped(X: np.ndarray) -> np.ndarray:
    """X in Fortran order in a file that is mapped into memory, whose rows are read where they are."""
    with tempfile.TemporaryFile() as file:
        found = np.memmap(file, X.dtype, "w+", shape=X.shape, order="F")
    found[:] = X
    return found


@pytest.fixture
def rows_in_place(monkeypatch):
    """Training reads rows of any memory order where they are, as if there were no memory for a copy."""
    monkeypatch.setattr(dataset, "together", lambda X, is_shuffled: X)


def says(error: BaseException, *parts: str) -> None:
    """The message holds every part: which argument, what it was, what was expected, what to do."""
    message = str(error)
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """One in ``of`` of the tests marked ``exhaustive(of=...)``, drawn by their names, is a slow one as well."""
    for item in items:
        marker = item.get_closest_marker("exhaustive")
        if marker is not None and zlib.crc32(item.nodeid.encode()) % marker.kwargs["of"] == 0:
            item.add_marker("slow")


_why_not_cuda = functools.cache(device.why_not)


def pytest_runtest_setup(item):
    """A test marked ``cuda`` runs on a card or in Numba's simulator; else it skips, and says why."""
    if item.get_closest_marker("cuda") and (reason := _why_not_cuda()) is not None:
        pytest.skip(f"no CUDA device: {reason}; NUMBA_ENABLE_CUDASIM=1 runs this in Numba's simulator")
