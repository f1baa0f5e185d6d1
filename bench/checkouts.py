"""Child processes that each use the numbasgd of one checkout, and the benches of this one."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(tempfile.gettempdir()) / "numbasgd-checkouts"


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows the two checkouts, and where their compiled code is kept."""
    made = argparse.ArgumentParser(prog=prog, description=description.split("\n")[0])
    made.add_argument("A", type=_checkout, help="the checkout to compare with")
    made.add_argument("B", type=_checkout, help="the checkout that is compared with it")
    help_ = f"folder for compiled code, in which each checkout has its own; {CACHE} if left out"
    made.add_argument("--cache", type=Path, default=CACHE, help=help_)
    made.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    return made


def _checkout(value: str) -> Path:
    path = Path(value).resolve()
    if not (path / "numbasgd" / "__init__.py").exists():
        raise argparse.ArgumentTypeError(f"{value} holds no numbasgd; expected the root of a checkout")
    return path


def cache_of(checkout: Path, cache: Path) -> Path:
    """Where the compiled code of a checkout is kept."""
    return cache / hashlib.sha256(str(checkout).encode()).hexdigest()[:12]


def start(module: str, checkout: Path, cache: Path, arguments: list[str], **options: Any) -> subprocess.Popen:
    """``python -m module CHECKOUT arguments`` in a process that keeps compiled code in ``cache``."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),  # for processes that it starts
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBASGD_CACHE_DIR": str(cache),
        "OPENBLAS_NUM_THREADS": "1",  # the bits of a product may depend on it
    }
    command = [sys.executable, "-m", module, str(checkout), *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, **options)


def use(checkout: Path) -> None:
    """Import numbasgd from a checkout, in a process that has not imported it yet."""
    sys.path.insert(0, str(checkout))
    import numbasgd

    if Path(numbasgd.__file__).resolve().parents[1] != checkout:
        sys.exit(f"numbasgd was imported from {numbasgd.__file__}; expected it from {checkout}.")
