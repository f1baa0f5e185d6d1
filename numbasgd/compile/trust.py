"""Who can have written a file: loading compiled code runs it, so it must not come from somebody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def has_users() -> bool:
    """Whether files have owners and modes; else a folder of the user's is taken as private."""
    return hasattr(os, "geteuid")


def current_user() -> int:
    """The number of the user that this process acts as."""
    return os.geteuid()


def doubt_of(path: Path) -> str | None:
    """Why somebody else could have put code into a folder; None when only this user or root could.

    Whoever may write to a parent can put another folder in this one's place.  A folder of this user's they
    could only exchange for another of this user's, so its parents may belong to anybody (in a container root
    may have another number) and to a group (whose members' umask is often 002), but not be open to all.

    Raises ``OSError`` for what is not there.
    """
    if not has_users():
        return None
    user = current_user()
    is_own = False
    for part in (path, *path.parents):
        found = os.stat(part)
        is_own |= part == path and found.st_uid == user
        if found.st_uid not in (0, user) and not is_own:
            return f"{part} belongs to user {found.st_uid}"
        # In a folder like /tmp others may make files, but not rename or remove those of somebody else.
        is_sticky = part != path and found.st_mode & stat.S_ISVTX
        writers = stat.S_IWOTH if is_own and part != path else _OTHERS_WRITE
        if found.st_mode & writers and not is_sticky:
            return f"others may write to {part}, mode {stat.S_IMODE(found.st_mode):o}"
    return None


def is_safe(file: os.stat_result) -> bool:
    """Whether only this user or root can have written an open file."""
    if not stat.S_ISREG(file.st_mode):
        return False
    return not has_users() or (file.st_uid in (0, current_user()) and not file.st_mode & _OTHERS_WRITE)
