"""All of Numba's private interface that the package touches, so that a new Numba is checked in one file.

Private is what Numba's documentation does not promise: names of ``numba.core`` and ``numba.np``, and attributes
of dispatchers, compile results and code libraries.  Public, and so used anywhere: ``njit``, ``types``,
``extending`` and the ``context`` that Numba hands to an intrinsic.  CUDA's private names are in ``device.py``.

What is touched, from where, and why:

- ``compiler_lock``, for forks and for look-ups in LLVM, which wait for a compile: ``core.compiler_lock``
- ``requested_target``, ``settings``, ``is_jit_disabled``, ``cache_folder``, what the environment asks of Numba:
  ``core.config``, ``core.codegen.get_host_cpu_features``
- ``Compiler``, ``PartCompiler``, for inlined functions, which LLVM optimizes in their callers alone:
  ``core.compiler``, ``core.compiler_machinery``, ``core.typed_passes``, ``CodeLibrary._optimize_final_module``
- ``refuse_python``, an error instead of a crash: ``core.registry.CPUDispatcher``
- ``keep``, the cache: ``Dispatcher._cache``, ``core.caching._Cache``, ``core.serialize.dumps``,
  ``core.runtime.rtsys``, ``Codegen.magic_tuple``, ``CompileResult._reduce`` and ``_rebuild``,
  ``CodeLibrary.has_dynamic_globals`` and ``_final_module``
- ``definition_of``, for the names of what a closure holds: ``extending._Intrinsic._defn``
- ``address_of_compiled``, for kernels that are called through an address: ``CompileResult.library``, ``fndesc``
- ``as_dtype``, ``alloca_once``, ``gep_inbounds``, ``get_or_insert_function``, ``unpack_tuple``, for intrinsics:
  ``np.numpy_support``, ``core.cgutils``

Versions that it was tried on, by the tests as pytest runs them by default or by those of the cache and forks
(``test_compile_cache.py``, ``test_concurrency.py``) alone:

| numba | llvmlite | numpy | tests |
| --- | --- | --- | --- |
| 0.61.0, the oldest that pyproject.toml allows | 0.44.0 | 2.0.0, 2.1.3 | all |
| 0.62.1 | 0.45.1 | 2.3.5 | cache, forks |
| 0.63.1 | 0.46.0 | 2.3.5 | cache, forks |
| 0.64.0 | 0.46.0 | 2.4.6 | cache, forks |
| 0.65.1 | 0.47.0 | 2.4.6 | cache, forks |
| 0.66.0 | 0.48.0 | 2.4.6 | all |
| 0.67.0 | 0.49.0 | 2.4.6 | cache, forks |
| 0.68.1 | 0.50.0 | 2.4.6 | all |
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import llvmlite.binding
from numba.core import codegen, config
from numba.core.caching import _Cache
from numba.core.cgutils import alloca_once, gep_inbounds, get_or_insert_function, unpack_tuple
from numba.core.compiler import Compiler, CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock as compiler_lock
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.core.typed_passes import NopythonTypeInference
from numba.np.numpy_support import as_dtype

from numbasgd.errors import NumbaSGDError

__all__ = [
    "Compiler",
    "PartCompiler",
    "Store",
    "address_of_compiled",
    "alloca_once",
    "as_dtype",
    "cache_folder",
    "compiler_lock",
    "definition_of",
    "dumps",
    "gep_inbounds",
    "get_or_insert_function",
    "is_jit_disabled",
    "keep",
    "refuse_python",
    "requested_target",
    "settings",
    "unpack_tuple",
]


def requested_target() -> tuple[str, str]:
    """The CPU's name and the features, as in ``"+avx2,-avx512f"``, that Numba hands to LLVM in this process.

    They are the host's unless NUMBA_CPU_NAME, NUMBA_CPU_FEATURES or NUMBA_ENABLE_AVX say otherwise.  The list
    stands above what the name implies.
    """
    name = llvmlite.binding.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    features = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return name, features


def settings() -> tuple[Any, ...]:
    """The settings of Numba that shape machine code and that the key of compiled code does not hold."""
    return config.OPT, config.BOUNDSCHECK, config.LOOP_VECTORIZE, config.SLP_VECTORIZE


def is_jit_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT is set."""
    return bool(config.DISABLE_JIT)


def cache_folder() -> str:
    """NUMBA_CACHE_DIR, or an empty string."""
    return config.CACHE_DIR


def definition_of(thing: Any) -> Any:
    """The function that an intrinsic was made from; None for what is no intrinsic."""
    return getattr(thing, "_defn", None)


def address_of_compiled(dispatcher: Any) -> int:
    """The address of a compiled function's only version, which takes and returns C integers."""
    (compiled,) = dispatcher.overloads.values()
    with compiler_lock:
        return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)


class _PythonRefused(CPUDispatcher):
    """A function for kernels alone, which Python would find no code of."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise NumbaSGDError(
            f"{self.py_func.__name__} was called from Python; expected a kernel as the caller, since it is "
            "compiled into its callers only. Call it through a function decorated with "
            "numbasgd.compile.options.jit."
        )


def refuse_python(dispatcher: Any) -> None:
    """A call of ``dispatcher`` from Python becomes an error; it has no code that Python could enter."""
    dispatcher.__class__ = _PythonRefused


class PartCompiler(CompilerBase):
    """For a function that is inlined wherever it is called: LLVM optimizes it there, not once more before."""

    def define_pipelines(self) -> list[Any]:
        """Numba's passes, and one that takes LLVM's away."""
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


class Store(Protocol):
    """Where ``keep`` puts the compiled versions of one function; neither method raises ``OSError``."""

    @property
    def folder(self) -> str:
        """Where that is, for ``stats``."""

    def load(self, key: Hashable) -> Any:
        """What was saved under ``key``, or None."""

    def save(self, key: Hashable, code: Any) -> None:
        """Save ``code``, if that is possible."""


def keep(dispatcher: Any, store: Store) -> None:
    """Make ``dispatcher`` look into ``store`` before it compiles, and put into it what it compiled."""
    dispatcher._cache = _Kept(store)


class _Kept(_Cache):
    """Numba's protocol of a cache in front of a ``Store``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_flushed = False

    @property
    def cache_path(self) -> str:
        return self._store.folder

    def enable(self) -> None:
        pass

    def disable(self) -> None:
        pass

    def flush(self) -> None:
        self._is_flushed = True  # what is compiled next replaces what is there

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if self._is_flushed:
            return None
        try:
            code = self._store.load((sig, target_context.codegen().magic_tuple()))
            return None if code is None else _rebuild(target_context, *code)
        except Exception:  # whatever a damaged file does, compiling still works
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # Numba's own check warns, at the user, of each function that cannot be kept.
        if data.library.has_dynamic_globals or any(not part.can_cache for part in data.lifted):
            return
        self._store.save((sig, data.codegen.magic_tuple()), _reduce(data))


def _reduce(compiled: Any) -> tuple[list[str], Any]:
    functions = compiled.library._final_module.functions
    outside = [f.name for f in functions if f.is_declaration and not f.name.startswith("llvm.")]
    return outside, compiled._reduce()


def _rebuild(target_context: Any, outside: list[str], parts: tuple[Any, ...]) -> Any:
    rtsys.initialize(target_context)
    # Refreshing the context imports what compiling needs, SciPy if it is there, and takes longer than all
    # else here.  Loaded code needs none of it unless it calls what only those modules define.
    if any(llvmlite.binding.address_of_symbol(name) is None for name in outside):
        target_context.refresh()
    return CompileResult._rebuild(target_context, *parts)
