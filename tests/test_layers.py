"""Which folder may import which, read from the source: a measurement draws nothing, a file compares alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import numbasgd

PACKAGE = Path(numbasgd.__file__).parent
BELOW = {  # folder: those whose modules it never imports, not even within a function
    "machine": ("experiments", "compare", "render", "cli", "sgd"),
    "compare": ("experiments", "render", "cli", "sgd", "matmul"),
    "experiments": ("compare", "cli"),
    "render": ("cli",),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", BELOW)
def test_a_folder_does_not_import_what_is_built_on_it(folder):
    files = sorted((PACKAGE / folder).glob("*.py"))
    assert len(files) > 2
    for path in files:
        for name in imported(path):
            above = [other for other in BELOW[folder] if f"{name}.".startswith(f"numbasgd.{other}.")]
            assert not above, f"{path.name} imports {name}"


@pytest.mark.parametrize("results", ["numbasgd.sgd.fit", "numbasgd.experiments"])
def test_a_result_imports_what_draws_it_when_it_is_drawn(results):
    code = (
        f"import sys, {results}\n"
        "print([name for name in sys.modules if name.startswith(('numbasgd.render', 'matplotlib'))])\n"
        "import numbasgd.render.training_plot\n"
        "print([name for name in sys.modules if name.startswith('matplotlib')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.split("\n") == ["[]", "[]", ""]
