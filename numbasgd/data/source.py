"""A table's file, to be read as often as needed; what comes through a pipe is kept in a file first."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from numbasgd.errors import DataError

_START = 4096  # bytes that tell what kind of file it is
_STDIN = "-"


class Source(os.PathLike[str]):
    """What ``open`` takes, under the name that the user gave it.

    A pipe gives its bytes once.  ``whole`` copies them to a temporary file, piece by piece, so that a table
    larger than memory's spare room is no trouble; an ordinary file is read where it is.
    """

    def __init__(self, name: str, file: Path, stream: BinaryIO | None, start: bytes, stack: ExitStack) -> None:
        self._name, self._file, self._stream, self._start, self._stack = name, file, stream, start, stack
        self.suffix = file.suffix

    def __str__(self) -> str:
        return self._name

    def __fspath__(self) -> str:
        return str(self._file)

    def whole(self) -> Source:
        """The same, all its bytes in a file."""
        if self._stream is not None:
            try:
                folder = self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
                self._file = Path(folder) / "table"
                with open(self._file, "xb") as copy:
                    copy.write(self._start)
                    shutil.copyfileobj(self._stream, copy, 1 << 20)
            except OSError as error:
                raise DataError(
                    f"{self} is a pipe, and its content cannot be kept in a temporary file "
                    f"({error.strerror or error}); expected room for it in {tempfile.gettempdir()}. "
                    "Save it to a file first, or set TMPDIR to a folder with room."
                ) from error
            self._stream = None
        return self


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[Source, bytes]]:
    """The file at ``path`` and its first bytes; "-" is standard input."""
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(
            f"path is a {type(path).__name__}; expected the path of a .npy or text file. "
            "Arrays that are in memory already can be passed to train() as X and y."
        ) from None
    name = "standard input" if str(file) == _STDIN else str(file)
    with ExitStack() as stack:
        try:
            if str(file) == _STDIN:
                if sys.stdin is None:
                    raise OSError("it is closed")
                stream: BinaryIO = sys.stdin.buffer
            else:
                stream = stack.enter_context(open(file, "rb"))
            is_file = str(file) != _STDIN and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            start = stream.read(_START)
            if is_file:
                stream.close()  # a folder may have more files than a process may have open
        except (OSError, ValueError) as error:
            raise DataError(
                f"{name} cannot be read: {getattr(error, 'strerror', None) or error}. Expected a .npy file, or "
                "text with a row of numbers a line. Check the path."
            ) from error
        yield Source(name, file, None if is_file else stream, start, stack), start
