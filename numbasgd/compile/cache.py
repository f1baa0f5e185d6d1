"""Where compiled code is kept between processes, and which of it may be run.

Numba's own file cache keys a function by its own source file.  It does not see a changed constant, callee or
intrinsic in another file, and then runs stale code.  Here the folder carries a stamp, a hash of every source
file of the package and of the versions and settings that shape machine code, so that whatever changes, the next
process compiles anew.  In that folder each compiled version of a function is a file of its own, named by a hash
of its key and renamed into place, so two processes at once need no lock and no index.

Loading code runs it, so it must not come from somebody else.  A file is read if nobody but this user or root
can have written it: it, its folder and that folder's parents belong to one of them, and others may not write to
them.  So an image may be filled as root and used by anybody.  What is missing from a folder that can only be
read is kept in one that this user can write to.  Where there is none, every process compiles, and says so once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import numba

from numbasgd.compile import numba_private, trust
from numbasgd.errors import CacheWarning
from numbasgd.paths import user_cache_dir, write_whole

_PACKAGE = Path(__file__).resolve().parent.parent
_STALE_AFTER = 30 * 24 * 3600.0  # seconds without use before another version's folder is removed
_MOST_LETTERS = 120  # of a function's name in the name of its file; a file system takes 255 in all
# Others may read: an image is filled as root and used by a user who is not.
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644

_said: list[str] = []  # what this process has warned of


@functools.cache
def stamp() -> str:
    """A hash of all that shapes the machine code besides the key of a compiled version."""
    h = hashlib.sha256()
    for name in sorted(_PACKAGE.rglob("*.py")):
        h.update(name.relative_to(_PACKAGE).as_posix().encode())
        h.update(name.read_bytes())
    python = (sys.implementation.name, sys.version_info[:3], getattr(sys, "abiflags", ""))
    h.update(repr((numba.__version__, llvmlite.__version__, python, numba_private.settings())).encode())
    return h.hexdigest()[:16]


@dataclass(frozen=True)
class _Place:
    """A folder with one folder of compiled code for each version.

    variable : the environment variable that names it; empty when numbasgd chose it.
    """

    base: Path
    variable: str = ""

    @property
    def folder(self) -> Path:
        """Where this version's code is, symbolic links followed, so that what is checked is what is read."""
        return Path(os.path.realpath(self.base)) / stamp()


@functools.cache
def _first_place() -> _Place | None:
    if chosen := numba_private.cache_folder():
        return _Place(Path(chosen).absolute() / "numbasgd", "NUMBA_CACHE_DIR")
    if (cache := user_cache_dir()) is None:
        return None
    variable = "NUMBASGD_CACHE_DIR"
    return _Place(cache.absolute() / "compiled", variable if os.environ.get(variable) else "")


@functools.cache
def _temporary_place() -> _Place | None:
    try:
        folder = Path(tempfile.gettempdir())
    except OSError:  # none that can be written to
        return None
    return _Place(
        folder / f"numbasgd-{trust.current_user() if trust.has_users() else os.environ.get('USERNAME', 'user')}"
    )


def _places() -> Iterator[_Place]:
    """Where to look, in this order."""
    for find in (_first_place, _temporary_place):
        if (place := find()) is not None:
            yield place


def _read(place: _Place, name: str) -> bytes | None:
    """The content of a file, or None if it is not there or not safe to run."""
    try:
        folder = place.folder
        if trust.doubt_of(folder.parent) or trust.doubt_of(folder):
            return None
        with open(folder / name, "rb") as file:
            if not trust.is_safe(os.fstat(file.fileno())):
                return None
            _touch(folder)
            return file.read()
    except (OSError, ValueError):  # ValueError: a name that the file system cannot spell
        return None


@functools.cache
def _touch(folder: Path) -> None:
    """Note that this version's code was used, once a process."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def _write(place: _Place, name: str, content: bytes) -> str | None:
    """Keep a file; None, or why that cannot be."""
    try:
        folder = place.folder
        for missing in [part for part in (folder.parent, *folder.parents) if not part.exists()][::-1]:
            missing.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        if doubt := trust.doubt_of(folder.parent):
            return doubt
        is_new = not folder.exists()
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        if doubt := trust.doubt_of(folder):
            return doubt
        if trust.has_users() and os.stat(folder).st_uid != trust.current_user():
            return "it belongs to root and can only be read"
        write_whole(folder / name, content, mode=_FILE_MODE)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if is_new:
        _remove_stale(folder)
    return None


def _is_readable(place: _Place) -> bool:
    """Whether code in a folder is used where it is found; its folder of this version need not be there."""
    folder = place.folder
    try:
        if trust.doubt_of(folder.parent):
            return False
        return not folder.exists() or (not trust.doubt_of(folder) and os.access(folder, os.R_OK | os.X_OK))
    except OSError:
        return False


def _remove_stale(keep: Path) -> None:
    """Remove folders of other versions that nobody used for a while, so that edits do not pile up."""
    with contextlib.suppress(OSError):
        for folder in keep.parent.iterdir():
            if folder == keep or len(folder.name) != len(keep.name):
                continue
            if time.time() - folder.stat().st_mtime > _STALE_AFTER:
                for file in folder.iterdir():
                    file.unlink(missing_ok=True)
                folder.rmdir()


def _keep(name: str, content: bytes) -> None:
    """Keep a file in the first place that takes it; say once what hinders that."""
    refused: list[tuple[_Place, str]] = []
    for place in _places():
        reason = _write(place, name, content)
        if reason is None:
            break
        refused.append((place, reason))
    else:
        _say_once(_why_never(refused))
        return
    for other, reason in refused:
        if other.variable and not _is_readable(other):
            _say_once(_why_elsewhere(other, reason, place))


def _why_never(refused: list[tuple[_Place, str]]) -> str:
    tried = "; ".join(f"{place.base} ({reason})" for place, reason in refused) or "there is no folder to try"
    variable = next((place.variable for place, _ in refused if place.variable), "NUMBASGD_CACHE_DIR")
    return (
        f"compiled code cannot be kept, so every process compiles it again: {tried}. Set {variable} to a "
        "folder that this user can write to, or to one that root filled with the same versions on the same "
        "kind of CPU and that only root can write to."
    )


def _why_elsewhere(place: _Place, reason: str, used: _Place) -> str:
    return (
        f"{place.variable} names a folder that is not used for compiled code: {place.base} ({reason}). It is "
        f"kept in {used.base} instead. Set {place.variable} to a folder whose owner is this user or root and "
        "that nobody else can write to."
    )


def _say_once(message: str) -> None:
    """Warn, once a process and in one line; there is no line of the user's to show."""
    if not _said:
        _said.append(message)
        warnings.warn_explicit(message, CacheWarning, "numbasgd", 0, module="numbasgd")


class Store:
    """The compiled versions of one function."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func

    @property
    def folder(self) -> str:
        """Where they are looked for first."""
        return str(next((place.folder for place in _places()), ""))

    def load(self, key: Hashable) -> Any:
        """What was saved under ``key``, here or in another process, or None."""
        key = key, identity(self._func)
        name = self._file_name(key)
        for place in _places():
            if (content := _read(place, name)) is not None:
                with contextlib.suppress(Exception):  # a damaged file
                    found, code = pickle.loads(content)
                    if found == key:
                        return code
        return None

    def save(self, key: Hashable, code: Any) -> None:
        """Keep ``code``, where that is possible."""
        key = key, identity(self._func)
        try:
            content = numba_private.dumps((key, code))
        except Exception:  # what Python cannot pickle is compiled in every process
            return
        _keep(self._file_name(key), content)

    def _file_name(self, key: Hashable) -> str:
        module = self._func.__module__.rpartition(".")[2]
        readable = f"{module}.{self._func.__qualname__}".replace("<", "").replace(">", "")[:_MOST_LETTERS]
        return f"{readable}-{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"


def store_of(func: Callable[..., Any]) -> Store | None:
    """Where a function's code is kept; None for a package in a zip file, whose sources cannot be stamped."""
    return Store(func) if _has_sources() else None


@functools.cache
def _has_sources() -> bool:
    stamp()  # now: a source file that is edited later is not what this process compiles
    return any(_PACKAGE.glob("*.py"))


def identity(thing: Any) -> Any:
    """What a function is within one version of the package: its name, and what it closes over.

    Pickling a closure's cells would give other bytes in every process when one of them is a function.
    """
    func = getattr(thing, "py_func", thing)
    if isinstance(func, tuple):
        return tuple(identity(part) for part in func)
    if not hasattr(func, "__qualname__"):
        inner = numba_private.definition_of(func)
        return repr(func) if inner is None else identity(inner)
    cells = getattr(func, "__closure__", None) or ()
    return func.__module__, func.__qualname__, tuple(identity(cell.cell_contents) for cell in cells)
