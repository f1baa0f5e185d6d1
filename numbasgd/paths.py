"""Where numbasgd may keep files on this machine, and how it writes one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from numbasgd.part_files import part_of


def user_cache_dir() -> Path | None:
    """The folder for what numbasgd may keep on this machine, or None when it has no place.

    ``NUMBASGD_CACHE_DIR``, else the platform's cache folder for this user.
    """
    if chosen := os.environ.get("NUMBASGD_CACHE_DIR"):
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = str(home / "Library/Caches") if (home := _home()) else None
    else:
        base = os.environ.get("XDG_CACHE_HOME") or (str(home / ".cache") if (home := _home()) else None)
    return Path(base) / "numbasgd" if base else None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and no such user in the password file
        return None


def write_whole(path: Path, content: bytes, *, is_durable: bool = False, mode: int = 0o666) -> None:
    """Write ``content`` to ``path`` so that nobody ever sees a part of it.

    It goes to a file of its own in the same folder, which is renamed at the end; whatever stops it half-way,
    a full disk or an interrupt, leaves what was there before.  Two processes may do it at once: the last one
    wins.  Raises ``OSError``.

    is_durable : wait until the content is on the disk before the rename, so that not even a power failure
    leaves an empty file.
    mode : the file's permissions, less those that the process's umask takes away.
    """
    part = part_of(path)
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
