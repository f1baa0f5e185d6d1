"""How numbasgd compiles: one decorator, its options each with a reason, and a cache that is safe.

Numba's own file cache keys a function by its own source file.  It does not see a changed constant,
callee or intrinsic in another file, and then runs stale code.  Here the folder of the cache carries a
stamp, a hash of every source file of the package and of the versions and settings that shape machine
code, so that whatever changes, the next process compiles anew.  The rest is Numba's machinery.

What else is different from ``njit(cache=True)``:

- No folder that can be written to is no error: the code is then compiled in every process.
- A damaged cache file, a full disk, or two processes at once cost a compile, never a call.
- A function that cannot be kept, as with NUMBA_OPT=0, is compiled in every process without a warning.
- Functions made by a factory are told apart by what they close over, by name and value, so a closure
  over an intrinsic or another jitted function is found again.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.typed_passes import NopythonTypeInference

from numbasgd.errors import NumbaSGDError
from numbasgd.paths import user_cache_dir

_PACKAGE = Path(__file__).resolve().parent.parent
_STALE_AFTER = 30 * 24 * 3600.0  # seconds without use before another version's folder is removed

# reassoc and nsz let a sum run in vector lanes, contract lets a*b+c become one FMA.  The full
# ``fastmath=True`` also promises that there is no NaN and no Inf, and then folds isfinite() away.
FASTMATH = {"reassoc", "nsz", "contract"}
# nogil: kernels touch no Python object, so other Python threads may run meanwhile.
# error_model "numpy": no branch for a division by zero in the inner loop.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

# A child that is forked while another thread compiles would find Numba's lock held by a thread that it does
# not have, and wait for ever; so whoever forks waits for the compiler first.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def jit(func: Callable[..., Any] | None = None, *, variant: str = "", **options: Any) -> Any:
    """Compile ``func`` with ``OPTIONS`` (changed by ``options``), kept in numbasgd's cache.

    variant : what tells functions apart that one factory makes.  It becomes part of the name, because two
    of the same name, one compiled and one from the cache, could be taken for each other by the linker.
    """
    if func is None:
        return functools.partial(jit, variant=variant, **options)
    if variant:
        func.__name__ += f"_{variant}"
        func.__qualname__ += f"_{variant}"
    if config.DISABLE_JIT:
        return _refusing(func)
    is_inlined = bool(options.get("forceinline"))
    if is_inlined:  # into kernels: a way in from Python and one from C would only take time to compile
        options = {
            "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler, **options
        }  # fmt: skip
    dispatcher = numba.njit(**{**OPTIONS, **options})(func)
    if is_inlined:
        dispatcher.__class__ = _Inlined
    if _folder() is not None:
        dispatcher._cache = _Cache(func)
    return dispatcher


class _Inlined(CPUDispatcher):
    """A function for kernels alone, which Python would find no code of."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise NumbaSGDError(
            f"{self.py_func.__name__} was called from Python; expected a kernel as the caller, since it is "
            "compiled into its callers only. Call it through a function decorated with "
            "numbasgd.compile.options.jit."
        )


class _PartCompiler(CompilerBase):
    """For a function that is inlined wherever it is called: LLVM optimizes it there, not once more before."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_LeaveAsItIs, NopythonTypeInference)
        passes.finalize()
        return [passes]


@register_pass(mutates_CFG=False, analysis_only=True)
class _LeaveAsItIs(FunctionPass):
    _name = "numbasgd_leave_as_it_is"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        if state.library is None:
            state.library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
            state.library.enable_object_caching()
        state.library._optimize_final_module = lambda: None
        return False


def _refusing(func: Callable[..., Any]) -> Callable[..., Any]:
    """What stands for a kernel under NUMBA_DISABLE_JIT; the package can still be imported and asked."""

    @functools.wraps(func)
    def refuse(*args: Any, **options: Any) -> Any:
        raise NumbaSGDError(
            "NUMBA_DISABLE_JIT is set; expected kernels that Numba compiles, since they work with vector "
            "registers that Python has none of. Unset NUMBA_DISABLE_JIT, or set it to 0."
        )

    refuse.compile = refuse  # type: ignore[attr-defined]
    return refuse


class _Uncollected(threading.local):
    """``with uncollected:`` around a compile: the collector's walks over all of Numba take a tenth of it."""

    _was_on = False

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()


uncollected = _Uncollected()


@functools.cache
def stamp() -> str:
    """A hash of all that shapes the machine code besides what Numba's own key holds."""
    h = hashlib.sha256()
    for name in sorted(_PACKAGE.rglob("*.py")):
        h.update(name.relative_to(_PACKAGE).as_posix().encode())
        h.update(name.read_bytes())
    settings = (config.OPT, config.BOUNDSCHECK, config.LOOP_VECTORIZE, config.SLP_VECTORIZE)
    h.update(repr((numba.__version__, llvmlite.__version__, sys.version_info[:3], settings)).encode())
    return h.hexdigest()[:16]


def _candidates() -> Iterator[Path]:
    if config.CACHE_DIR:  # NUMBA_CACHE_DIR
        yield Path(config.CACHE_DIR) / "numbasgd"
        return
    if (cache := user_cache_dir()) is not None:
        yield cache / "compiled"
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    yield Path(tempfile.gettempdir()) / f"numbasgd-{user}"


def _is_private(folder: Path) -> bool:
    """Whether only this user can have put files into ``folder``; cached code is executed."""
    if not hasattr(os, "getuid"):
        return True
    found = os.stat(folder)
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


@functools.cache
def _folder() -> Path | None:
    """The folder of this version's compiled code, made and tried once a process."""
    if not any(_PACKAGE.glob("*.py")):  # imported from a zip file: no sources to stamp
        return None
    for base in _candidates():
        folder = base / stamp()
        try:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _is_private(base):
                continue
            is_new = not folder.exists()
            folder.mkdir(exist_ok=True, mode=0o700)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
        except OSError:
            continue
        if is_new:
            _remove_stale(base, folder)
        return folder
    return None


def _remove_stale(base: Path, keep: Path) -> None:
    """Remove folders of other versions that nobody used for a while, so that edits do not pile up."""
    with contextlib.suppress(OSError):
        for folder in base.iterdir():
            if folder == keep or len(folder.name) != len(keep.name):
                continue
            if time.time() - folder.stat().st_mtime > _STALE_AFTER:
                for file in folder.iterdir():
                    file.unlink(missing_ok=True)
                folder.rmdir()


class _Locator(_CacheLocator):
    """Every function's files in the one stamped folder."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._module = py_func.__module__

    def ensure_cache_path(self) -> None:
        folder = _folder()
        if folder is not None:
            folder.mkdir(exist_ok=True, parents=True, mode=0o700)

    def get_cache_path(self) -> str:
        return str(_folder())

    def get_source_stamp(self) -> str:
        return stamp()

    def get_disambiguator(self) -> str:
        return self._module

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]

    def check_cachable(self, cres: Any) -> bool:
        # Numba's own check warns, at the user, of each function that cannot be kept.
        return not (cres.library.has_dynamic_globals or any(not part.can_cache for part in cres.lifted))

    def reduce(self, cres: Any) -> Any:
        functions = cres.library._final_module.functions
        outside = [f.name for f in functions if f.is_declaration and not f.name.startswith("llvm.")]
        return outside, super().reduce(cres)

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        outside, rest = payload
        rtsys.initialize(target_context)
        # Refreshing the context imports what compiling needs, SciPy if it is there, and takes longer than all
        # else here.  Loaded code needs none of it unless it calls what only those modules define.
        if any(llvmlite.binding.address_of_symbol(name) is None for name in outside):
            target_context.refresh()
        return super().rebuild(target_context, rest)


class _Cache(FunctionCache):
    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return self._load_overload(sig, target_context)  # without the refresh; see _Impl.rebuild
        except Exception:  # whatever a damaged file does, compiling still works
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(Exception), _locked(Path(self.cache_path) / ".lock"):
            super().save_overload(sig, data)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Pickling a closure's cells gives other bytes in every process when one of them is a function.
        return sig, codegen.magic_tuple(), _identity(self._py_func)


def _identity(thing: Any) -> Any:
    """What a function is within one version of the package: its name, and what it closes over."""
    func = getattr(thing, "py_func", thing)
    if isinstance(func, tuple):
        return tuple(_identity(part) for part in func)
    if not hasattr(func, "__qualname__"):
        inner = getattr(func, "_defn", None)  # an intrinsic
        return repr(func) if inner is None else _identity(inner)
    cells = getattr(func, "__closure__", None) or ()
    return func.__module__, func.__qualname__, tuple(_identity(cell.cell_contents) for cell in cells)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; Numba's index is read, changed and written in three steps."""
    try:
        import fcntl
    except ImportError:  # no such locks on this platform: the files are still renamed into place
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
