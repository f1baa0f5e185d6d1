"""The cache: found again by the next process, never stale, and never in the way."""

import shutil
import sys
from pathlib import Path

import pytest
from child import run_python

from numbasgd.compile.options import jit
from numbasgd.errors import NumbaSGDError

# Two that compile fast: a function of a module, and a closure over intrinsics and other compiled functions.
PROBE = """
    import numpy as np, numbasgd
    from numbasgd.matmul.cpu import element
    from numbasgd.sgd.cpu import kernels
    ones = np.ones((3, 3))
    numbasgd.matmul(ones, ones, rung="element")
    sum_loss = kernels("squared", 3, ones.dtype).sum_loss
    assert sum_loss(np.ones(9), 3, 0, 3, 1, np.ones(3), np.ones(0), np.zeros(8), 0.0, 0, 3, np.ones(16)) == 1.5
    seen = [element, sum_loss]
    for counts in ("cache_hits", "cache_misses"):
        print(sum(sum(getattr(f.stats, counts).values()) for f in seen))
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache folder that one process has filled."""
    folder = tmp_path_factory.mktemp("cache")
    assert run_python(PROBE, NUMBASGD_CACHE_DIR=str(folder), NUMBA_CACHE_DIR=None).split() == ["0", "2"]
    return folder


def test_the_next_process_finds_it(warm):
    assert run_python(PROBE, NUMBASGD_CACHE_DIR=str(warm), NUMBA_CACHE_DIR=None).split() == ["2", "0"]


@pytest.mark.parametrize("is_missing", [False, True])
def test_loading_imports_what_only_compiling_needs_when_a_symbol_is_missing(warm, is_missing):
    code = f"""
        import sys, llvmlite.binding, numpy as np, numbasgd
        if {is_missing}:
            llvmlite.binding.address_of_symbol = lambda name: None
        ones = np.ones((3, 3))
        assert numbasgd.matmul(ones, ones, rung="element").sum() == 27
        print("numba.np.arraymath" in sys.modules)
    """
    assert run_python(code, NUMBASGD_CACHE_DIR=str(warm), NUMBA_CACHE_DIR=None).strip() == str(is_missing)


def test_training_in_the_next_process_compiles_nothing(tmp_path):
    code = """
        import numpy as np, numbasgd
        from numbasgd.sgd.cpu import advance_kernel
        assert numbasgd.train(seed=1).loss[-1] < 0.3
        print(len(advance_kernel("squared", 5, np.dtype("f4")).stats.cache_hits))
    """
    hits = [run_python(code, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None) for _ in range(2)]
    assert [count.strip() for count in hits] == ["0", "1"]


def test_an_edited_package_compiles_anew(warm, tmp_path):
    """Also when the file that changed is not the function's own."""
    import numbasgd

    shutil.copytree(Path(numbasgd.__file__).parent, tmp_path / "numbasgd")
    with open(tmp_path / "numbasgd" / "sgd" / "losses.py", "a") as file:
        file.write("# changed\n")
    environment = {"NUMBASGD_CACHE_DIR": str(warm), "NUMBA_CACHE_DIR": None, "PYTHONPATH": str(tmp_path)}
    assert run_python(PROBE, cwd=tmp_path, **environment).split() == ["0", "2"]
    assert run_python(PROBE, cwd=tmp_path, **environment).split() == ["2", "0"]


@pytest.mark.parametrize(
    "damage", ["cut", *(pytest.param(d, marks=pytest.mark.slow) for d in ("empty", "garbage"))]
)
def test_damaged_files_cost_a_compile(warm, tmp_path, damage):
    shutil.copytree(warm, tmp_path / "cache")
    for file in (tmp_path / "cache").rglob("*.nb?"):
        content = file.read_bytes()
        file.write_bytes(
            {"empty": b"", "garbage": b"\x80garbage" * 9, "cut": content[: len(content) // 2]}[damage]
        )
    printed = run_python(PROBE, NUMBASGD_CACHE_DIR=str(tmp_path / "cache"), NUMBA_CACHE_DIR=None)
    assert printed.split()[1] == "2"


@pytest.mark.slow
def test_numba_cache_dir_is_used_when_it_is_set(tmp_path):
    run_python(PROBE, NUMBASGD_CACHE_DIR=None, NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.rglob("cpu.element*.nbc"))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and users are of another kind there")
def test_nothing_can_be_written(tmp_path):
    """No HOME, a cache folder that is a file, no folder for temporary files: code is compiled, that is all."""
    (tmp_path / "file").write_text("in the way")
    blocked = str(tmp_path / "file" / "sub")
    printed = run_python(
        PROBE.replace("import numpy", f"import tempfile; tempfile.tempdir = {blocked!r}\n    import numpy"),
        NUMBASGD_CACHE_DIR=blocked, NUMBA_CACHE_DIR=None, HOME=None, XDG_CACHE_HOME=None,
    )  # fmt: skip
    assert printed.split() == ["0", "2"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and users are of another kind there")
def test_a_folder_that_others_may_write_is_not_trusted(tmp_path):
    """Cached code is executed, so it must not come from somebody else."""
    shared = tmp_path / "shared" / "compiled"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    run_python(PROBE, NUMBASGD_CACHE_DIR=str(shared.parent), NUMBA_CACHE_DIR=None, TMPDIR=str(tmp_path))
    assert not list(shared.rglob("*.nb?"))
    assert list(tmp_path.rglob("numbasgd-*/*/*.nbc")), "the user's own temporary folder takes its place"


def test_two_processes_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    code = PROBE.replace("(3, 3)", "(3, 3), np.float32")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(run_python, PROBE, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)
        two = pool.submit(run_python, code, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)
        one.result(), two.result()
    for probe in (PROBE, code):
        assert run_python(probe, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None).split() == ["2", "0"]


@pytest.mark.slow
def test_versions_that_nobody_used_for_long_are_removed(tmp_path):
    import os

    old = tmp_path / "compiled" / ("0" * 16)
    young = tmp_path / "compiled" / ("1" * 16)
    for folder in (old, young):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "x.nbc").write_bytes(b"")
    (tmp_path / "compiled").chmod(0o700)
    os.utime(old, (0, 0))
    run_python(PROBE, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)
    assert not old.exists()
    assert young.exists()


def test_closures_over_functions_are_told_apart():
    from numbasgd.compile.options import _identity
    from numbasgd.simd.vector import load, total

    def make(inner, number):
        def outer():
            return inner, number

        return outer

    assert _identity(make(load, 1)) == _identity(make(load, 1))
    assert len({_identity(make(f, n)) for f in (load, total) for n in (1, 2)}) == 4


def test_import_needs_neither_matplotlib_nor_the_network_nor_a_driver():
    run_python("""
        import sys, numbasgd
        heavy = {"matplotlib", "sklearn", "pandas", "urllib.request", "pytest", "numba.cuda.cudadrv.driver"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """)


@pytest.mark.slow
def test_code_that_cannot_be_kept_is_no_reason_to_warn(tmp_path):
    printed = run_python(
        PROBE.replace("import numpy", "import warnings; warnings.simplefilter('error')\n    import numpy"),
        NUMBASGD_CACHE_DIR=str(tmp_path),
        NUMBA_CACHE_DIR=None,
        NUMBA_OPT="0",
    )
    assert printed.split()[0] == "0"


def test_without_compiling_there_is_one_clear_error():
    printed = run_python(
        """
        import numpy as np, numbasgd
        from numbasgd import cli
        ones = np.ones((3, 3))
        for call in (
            lambda: numbasgd.matmul(ones, ones),
            lambda: numbasgd.gradient(ones, ones[0], ones[0]),
            lambda: numbasgd.train(epochs=1),
            lambda: numbasgd.epoch_order(0, 0, 5),
        ):
            try:
                call()
            except numbasgd.NumbaSGDError as error:
                print(error)
        assert (numbasgd.matmul(ones, ones, rung="numpy") == 3).all()
        assert cli.main(["train"]) == 2
        assert cli.main(["info"]) == 0
        """,
        NUMBA_DISABLE_JIT="1",
    )
    first, *same = printed.splitlines()[:4]
    assert first.startswith("NUMBA_DISABLE_JIT is set; expected") and "Unset NUMBA_DISABLE_JIT" in first
    assert same == [first] * 3
    assert "kernels refuse to run because NUMBA_DISABLE_JIT is set" in printed


def test_what_is_inlined_refuses_python():
    """It has no code that Python could enter: calling it would end the process."""

    @jit(variant="refuses", forceinline=True)
    def twice(x):
        return 2 * x

    @jit(variant="refuses")
    def four_times(x):
        return twice(twice(x))

    assert four_times(1.5) == 6
    with pytest.raises(NumbaSGDError, match="twice_refuses was called from Python; expected a kernel"):
        twice(1.5)
