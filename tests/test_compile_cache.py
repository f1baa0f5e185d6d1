"""The cache: found again by the next process, never stale, and never in the way."""

import os
import re
import shutil
import stat
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from child import run_python
from conftest import says

from numbasgd.compile import cache, trust
from numbasgd.compile.options import jit
from numbasgd.errors import CacheWarning, NumbaSGDError

# Two that compile fast: a function of a module, and a closure over intrinsics and other compiled functions.
PROBE = """
    import numpy as np, numbasgd
    from numbasgd.matmul.cpu import element
    from numbasgd.sgd.solvers.epoch import kernels
    ones = np.ones((3, 3))
    numbasgd.matmul(ones, ones, rung="element")
    sum_loss = kernels("squared", 3, ones.dtype).sum_loss
    samples = np.ones(9), 3, 0, 3, 1, np.ones(3), np.ones(0)
    assert sum_loss(samples, np.zeros(8), 0.0, 0, 3, np.ones(16)) == 1.5
    seen = [element, sum_loss]
    for counts in ("cache_hits", "cache_misses"):
        print(sum(sum(getattr(f.stats, counts).values()) for f in seen))
"""


# Before code for ``run_python``: what goes to the standard error is part of what is returned.
ERRORS_TOO = """
    import sys
    sys.stderr = sys.stdout
"""
has_users = pytest.mark.skipif(
    sys.platform == "win32", reason="permissions and users are of another kind there"
)
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone gives files away"
)
NOBODY, SOMEBODY = 65534, 4321


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


@pytest.mark.parametrize("lr", [0.05, pytest.param("auto", marks=pytest.mark.slow)])
def test_training_in_the_next_process_compiles_nothing(lr, tmp_path):
    code = f"""
        import numpy as np, numbasgd
        from numbasgd.sgd.solvers.epoch import advance_kernel
        assert numbasgd.train(seed=1, lr={lr!r}).loss[-1] < 0.3
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


@has_users
def test_nothing_can_be_written(tmp_path):
    """No HOME, a cache folder that is a file, none for temporary files: all is compiled, one line says why."""
    (tmp_path / "file").write_text("in the way")
    blocked = str(tmp_path / "file" / "sub")
    line, *printed = run_python(
        ERRORS_TOO
        + PROBE.replace("import numpy", f"import tempfile; tempfile.tempdir = {blocked!r}\n    import numpy"),
        NUMBASGD_CACHE_DIR=blocked, NUMBA_CACHE_DIR=None, HOME=None, XDG_CACHE_HOME=None,
    ).splitlines()  # fmt: skip
    assert printed == ["0", "2"]
    assert (
        "CacheWarning: compiled code cannot be kept" in line and f"{blocked}/compiled (Not a directory)" in line
    )
    assert "Set NUMBASGD_CACHE_DIR to" in line


@has_users
def test_a_folder_that_others_may_write_is_not_trusted(tmp_path):
    """Cached code is executed, so it must not come from somebody else."""
    shared = tmp_path / "shared" / "compiled"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    line, *printed = run_python(
        ERRORS_TOO + PROBE,
        NUMBASGD_CACHE_DIR=str(shared.parent), NUMBA_CACHE_DIR=None, TMPDIR=str(tmp_path),
    ).splitlines()  # fmt: skip
    assert printed == ["0", "2"]
    assert (
        f"CacheWarning: NUMBASGD_CACHE_DIR names a folder that is not used for compiled code: {shared} " in line
    )
    assert f"(others may write to {shared}, mode 777)" in line
    assert not list(shared.rglob("*.nb?"))
    assert list(tmp_path.rglob("numbasgd-*/*/*.nbc")), "the user's own temporary folder takes its place"


@needs_root
def test_an_image_that_root_filled_serves_everybody(warm, tmp_path):
    """What root compiled is read; what is missing goes to a folder of the user's own, and nobody is told."""
    image = Path(tempfile.mkdtemp())
    try:
        if closed := [str(p) for p in image.parents if not p.stat().st_mode & stat.S_IXOTH]:
            pytest.skip(f"only root may enter {closed[0]}, where temporary files are made")
        image.chmod(0o755)
        shutil.copytree(warm, image / "cache", dirs_exist_ok=True)
        (image / "cache").chmod(0o755)
        (image / "own").mkdir()
        (image / "own").chmod(0o1777)
        as_nobody = f"""
    import os, numba, numpy as np, numbasgd
    from numbasgd.matmul import cpu
    from numbasgd.sgd.solvers.epoch import kernels
    numba.njit(lambda x: x + 1)(np.ones(1))  # what this imports, numpy.ma too, nobody may read later
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
"""
        environment = {"NUMBASGD_CACHE_DIR": str(image / "cache"), "NUMBA_CACHE_DIR": None}
        environment["TMPDIR"] = str(image / "own")
        more = """
    numbasgd.matmul(np.float32(ones), np.float32(ones), rung="element")
    print(sum(element.stats.cache_hits.values()), sum(element.stats.cache_misses.values()))
"""
        code = ERRORS_TOO + as_nobody + PROBE + more
        assert run_python(code, cwd=image, **environment).splitlines() == ["2", "0", "1 1"]
        assert run_python(code, cwd=image, **environment).splitlines() == ["2", "0", "2 0"]
        (kept,) = (image / "own").rglob("*.nbc")
        assert kept.stat().st_uid == NOBODY
    finally:
        shutil.rmtree(image)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The cache's two places, the first named by NUMBASGD_CACHE_DIR; neither is there yet."""
    first = cache._Place(tmp_path / "parent" / "named" / "compiled", "NUMBASGD_CACHE_DIR")
    second = cache._Place(tmp_path / "second")
    (tmp_path / "parent").mkdir(mode=0o755)
    monkeypatch.setattr(cache, "_first_place", lambda: first)
    monkeypatch.setattr(cache, "_temporary_place", lambda: second)
    monkeypatch.setattr(cache, "_said", [])
    return first, second


def store():
    return cache.Store(test_two_processes_at_once)


def become(monkeypatch, user):
    """Permissions are judged as for another user."""
    monkeypatch.setattr(trust, "current_user", lambda: user)


def file_of(place):
    (file,) = place.folder.iterdir()
    return file


def change(place, what, mode, owner):
    """Change the mode and the owner of a place's file, folder, base or base's parents."""
    path = {
        "file": file_of(place), "folder": place.folder, "base": place.base, "parent": place.base.parent.parent,
    }[what]  # fmt: skip
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, -1)


def test_what_was_saved_is_loaded_under_its_key_alone(places):
    store().save("key", [1])
    store().save("other", [2])
    assert (store().load("key"), store().load("other"), store().load("third")) == ([1], [2], None)
    one, two = sorted(places[0].folder.iterdir())
    shutil.copy(one, two)  # a file under a name that is not its own
    assert sum(store().load(key) is None for key in ("key", "other")) == 1


@has_users
@pytest.mark.parametrize("what, mode", [("base", 0o555), ("parent", 0o775), ("parent", 0o1777)])
def test_code_of_this_users_own_is_loaded(places, what, mode):
    """Also from a folder that can only be read, and where a group or all may make files beside it."""
    store().save("key", 1)
    change(places[0], what, mode, None)
    assert store().load("key") == 1


@has_users
@pytest.mark.parametrize(
    "what, mode", [("file", 0o664), ("file", 0o646), ("folder", 0o775), ("base", 0o757), ("parent", 0o777)]
)
def test_code_of_this_users_own_that_others_may_write_is_not_loaded(places, what, mode):
    store().save("key", 1)
    change(places[0], what, mode, None)
    assert store().load("key") is None


@needs_root
@pytest.mark.parametrize(
    "what, mode, owner, is_loaded",
    [
        ("base", 0o755, None, True),
        ("base", 0o755, NOBODY, True),
        ("file", 0o644, NOBODY, True),
        ("parent", 0o1777, None, True),
        ("file", 0o644, SOMEBODY, False),
        ("folder", 0o755, SOMEBODY, False),
        ("base", 0o755, SOMEBODY, False),
        ("parent", 0o755, SOMEBODY, False),
        ("parent", 0o1777, SOMEBODY, False),
        ("file", 0o664, None, False),
        ("folder", 0o775, None, False),
        ("base", 0o1777, None, False),
        ("parent", 0o775, None, False),
    ],
)
def test_code_that_root_wrote_is_loaded_if_nobody_else_could_have(
    places, monkeypatch, what, mode, owner, is_loaded
):
    store().save("key", 1)
    change(places[0], what, mode, owner)
    become(monkeypatch, NOBODY)
    assert store().load("key") == (1 if is_loaded else None)


@has_users
def test_a_symbolic_link_counts_as_what_it_leads_to(places, tmp_path):
    real = tmp_path / "real"
    real.mkdir(mode=0o755)
    (tmp_path / "parent" / "named").symlink_to(real)
    store().save("key", 1)
    assert file_of(places[0]).is_relative_to(real)
    assert store().load("key") == 1
    real.chmod(0o777)
    assert store().load("key") is None


@needs_root
def test_what_a_folder_that_can_only_be_read_lacks_goes_to_the_next(places, monkeypatch):
    store().save("key", 1)
    become(monkeypatch, NOBODY)
    places[1].base.mkdir()
    os.chown(places[1].base, NOBODY, -1)
    places[1].folder.mkdir()
    os.chown(places[1].folder, NOBODY, -1)
    store().save("other", 2)  # and warns of nothing, since warnings are errors here
    os.chown(file_of(places[1]), NOBODY, -1)
    assert len(list(places[0].folder.iterdir())) == 1
    assert (store().load("key"), store().load("other")) == (1, 2)


def test_what_others_can_read_is_left_readable(places):
    """Whatever the umask takes away from new files, it adds nothing."""
    before = os.umask(0)
    try:
        store().save("key", 1)
    finally:
        os.umask(before)
    folder = places[0].folder
    modes = [
        stat.S_IMODE(p.stat().st_mode)
        for p in (folder.parent.parent, folder.parent, folder, file_of(places[0]))
    ]
    assert modes == [0o755, 0o755, 0o755, 0o644]
    assert store().load("key") == 1


@has_users
def test_one_line_says_why_nothing_is_kept(places):
    for place in places:
        place.base.parent.mkdir(exist_ok=True)
        place.base.write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store().save("key", 1)
        store().save("other", 2)
    (warning,) = caught
    assert warning.category is CacheWarning
    says(
        warning.message,
        *(f"{place.base} (Not a directory)" for place in places),
        "every process compiles it again",
    )
    assert "\n" not in str(warning.message)
    assert store().load("key") is None


@has_users
@pytest.mark.parametrize("variable", ["NUMBASGD_CACHE_DIR", ""])
def test_a_folder_that_is_refused_is_told_when_a_variable_names_it(places, monkeypatch, variable):
    refused = cache._Place(places[0].base, variable)
    monkeypatch.setattr(cache, "_first_place", lambda: refused)
    refused.base.mkdir(parents=True)
    refused.base.chmod(0o775)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store().save("key", 1)
        store().save("other", 2)
    assert store().load("key") == 1
    assert [str(warning.message).split()[0] for warning in caught] == ([variable] if variable else [])
    for warning in caught:
        reason = f"{refused.base} (others may write to {refused.base}, mode 775)"
        says(warning.message, reason, f"kept in {places[1].base}", "nobody else can write to")


@pytest.mark.slow
def test_two_processes_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    code = PROBE.replace("(3, 3)", "(3, 3), np.float32")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(run_python, PROBE, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)
        two = pool.submit(run_python, code, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)
        one.result(), two.result()
    both = run_python(PROBE + code, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None).split()
    assert both == ["2", "0", "3", "0"]  # element, one function, was found in both dtypes


@pytest.mark.slow
def test_versions_that_nobody_used_for_long_are_removed(tmp_path):
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
    from numbasgd.simd.vector import load, total

    def make(inner, number):
        def outer():
            return inner, number

        return outer

    assert cache.identity(make(load, 1)) == cache.identity(make(load, 1))
    assert len({cache.identity(make(f, n)) for f in (load, total) for n in (1, 2)}) == 4


def test_to_recompile_is_to_compile(tmp_path):
    """And what it compiled takes the place of what was kept."""
    printed = run_python(
        """
        import numpy as np
        from numbasgd.matmul.cpu import element
        ones = np.ones((3, 3))
        for _ in range(2):
            element(ones, ones, np.empty((3, 3)))
            element.recompile()
            print(sum(element.stats.cache_misses.values()), sum(element.stats.cache_hits.values()))
        """,
        NUMBASGD_CACHE_DIR=str(tmp_path),
        NUMBA_CACHE_DIR=None,
    )
    assert printed.splitlines() == ["2 0", "3 0"]
    assert len(list(tmp_path.rglob("cpu.element*.nbc"))) == 1


def test_numbas_private_interface_is_touched_in_one_file():
    """A new Numba is checked there; CUDA's private names are in ``device.py``, the one door to it."""
    package = Path(cache.__file__).parent.parent
    private = re.compile(
        r"numba\.(core|np|misc|typed|cpython|cuda\.\w+)\b|from numba import (core|np)\b|\._(cache|defn|nrt)\b"
    )
    found = {p.relative_to(package).as_posix() for p in package.rglob("*.py") if private.search(p.read_text())}
    assert found == {"compile/numba_private.py", "device.py"}


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
