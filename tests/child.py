"""Python code in a process of its own, with the package of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment with changes; None takes a variable away.  A child's tests are its own."""
    paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    env: dict[str, str | None] = {**own, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}
    return {name: value for name, value in env.items() if value is not None}


def run_python(code: str, *, cwd: Path | None = None, stdin: str | None = None, **env: str | None) -> str:
    """Run ``code``, ``stdin`` piped into it; what it printed, or an assertion that shows how it failed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        input=stdin,
        env=environment(**env),
        cwd=cwd,
        timeout=300,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
