"""The chapter's data: NASA airfoil self-noise, found or downloaded, verified by its hash, prepared.

The file is not part of numbasgd.  It is looked for, in this order, in the argument, in the folder that
``NUMBASGD_DATA_DIR`` names, in the user's cache folder, and at the mirrors; ``NUMBASGD_OFFLINE=1`` forbids
the last, and ``NUMBASGD_MIRRORS`` (addresses of the file, separated by spaces) replaces their list.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numbasgd import check
from numbasgd.data import download
from numbasgd.errors import DataError
from numbasgd.paths import user_cache_dir, write_whole

NAME = "airfoil_self_noise.dat"
SHA256 = "74c75fd71783f1e6b71f8a622b993dc592897a97cd689c5090a07147a1b097b3"
MIRRORS = (
    "http://d2l-data.s3-accelerate.amazonaws.com/airfoil_self_noise.dat",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00291/airfoil_self_noise.dat",
)
LIMIT = 1 << 20  # bytes; the file has 59,984
N_ROWS = 1503
COLUMNS = (
    "frequency [Hz]",
    "angle of attack [deg]",
    "chord length [m]",
    "free-stream velocity [m/s]",
    "suction-side displacement thickness [m]",
    "sound pressure level [dB]",
)
LICENCE = "CC BY 4.0"
CITATION = (
    "T. F. Brooks, D. S. Pope, M. A. Marcolini (1989), Airfoil Self-Noise, UCI Machine Learning Repository, "
    "dataset 291, doi 10.24432/C5VW2C"
)


@dataclass(frozen=True)
class Found:
    """The verified file and where it came from.

    content : its bytes.  source : "argument", "NUMBASGD_DATA_DIR", "cache" or "download".
    path : where it lies now, None if it was downloaded and no folder could keep it.
    address : the mirror, if it was downloaded.
    """

    content: bytes
    source: str
    path: Path | None
    address: str | None = None


def load_airfoil(
    path: str | os.PathLike[str] | None = None, *, n: int = 1500, scale: str | None = "chapter"
) -> tuple[np.ndarray, np.ndarray]:
    """The airfoil self-noise data as the chapter prepares it.

    Parameters
    ----------
    path : path-like, optional
        The file, or a folder that holds it.  Without it the file is looked for in ``NUMBASGD_DATA_DIR``, then
        in the user's cache folder, then downloaded into that.
    n : int
        How many rows, from the first on: 1 to 1503.
    scale : {"chapter", "train", "none"} or None
        "chapter": every column, the target included, has its mean over all 1503 rows subtracted and is
        divided by its population standard deviation, in float32.  The rows that are left out help to scale.
        "train": the same with the mean and deviation of the ``n`` rows alone; a column that is constant in
        them becomes 0.  "none": the numbers of the file.

    Returns
    -------
    X : ndarray, float32, shape (n, 5)
        Frequency, angle of attack, chord length, free-stream velocity, displacement thickness.
    y : ndarray, float32, shape (n,)
        Sound pressure level.

    Raises
    ------
    DataError
        If the file cannot be had, or is another one than it should be.  Its hash is verified at every load.
    TypeError, ValueError
        For an argument that is not as described.

    See Also
    --------
    airfoil_twin : a stand-in that needs no file.

    References
    ----------
    T. F. Brooks, D. S. Pope, M. A. Marcolini (1989), Airfoil Self-Noise, UCI Machine Learning Repository,
    dataset 291, doi 10.24432/C5VW2C, CC BY 4.0.
    """
    n = check.integer(n, "n", low=1, high=N_ROWS, hint="The chapter uses the first 1500 rows.")
    scale = check.choice("none" if scale is None else scale, "scale", ("chapter", "train", "none"))
    return prepare(find(path).content, n, scale)


def prepare(content: bytes, n: int = 1500, scale: str = "chapter") -> tuple[np.ndarray, np.ndarray]:
    """X and y from the bytes of the file; see ``load_airfoil``."""
    table = np.loadtxt(io.BytesIO(content), dtype=np.float32, ndmin=2)
    rows = table[:n]
    if scale != "none":
        rows = _standardized(rows, table if scale == "chapter" else rows)
    return np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy()


def _standardized(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """``(rows - mean) / std`` with the mean and population deviation of ``by``, in its dtype."""
    mean, std = by.mean(axis=0), by.std(axis=0)
    # The rounded mean of equal numbers need not be that number, and then their deviation is not quite 0.
    is_constant = (by == by[0]).all(axis=0)
    mean, std = np.where(is_constant, by[0], mean), np.where(is_constant, by.dtype.type(1), std)
    return (rows - mean) / std


def find(path: str | os.PathLike[str] | None = None, *, may_download: bool = True) -> Found:
    """The file's verified bytes from the first place that has it; see ``load_airfoil``."""
    if path is not None:
        return _given(path)
    looked = []
    if folder := os.environ.get("NUMBASGD_DATA_DIR"):
        if (file := _file_in(Path(folder))) is not None:
            return Found(_verified(file), "NUMBASGD_DATA_DIR", file)
        looked.append(f"no such file in {folder} (NUMBASGD_DATA_DIR)")
    else:
        looked.append("NUMBASGD_DATA_DIR is not set")
    cached = None if (cache := user_cache_dir()) is None else cache / "data" / NAME
    if cached is None:
        looked.append("there is no folder for a cache (no home folder; NUMBASGD_CACHE_DIR is not set)")
    else:
        try:
            return Found(_verified(cached), "cache", cached)
        except FileNotFoundError:
            looked.append(f"no such file in {cached.parent} (the cache)")
        except OSError as error:  # another file, or one that cannot be read: a download replaces it
            looked.append(str(error))
    for address in mirrors():
        if download.is_forbidden():
            looked.append(f"{address} was not asked: NUMBASGD_OFFLINE is set")
        elif not may_download:
            looked.append(f"{address} was not asked: numbasgd data --download does it")
        else:
            try:
                content = download.fetch(address, SHA256, LIMIT)
            except DataError as error:
                looked.append(f"{address}: {error}")
            else:
                return Found(content, "download", _kept(cached, content), address)
    raise DataError(_not_found(looked, cached))


def mirrors() -> tuple[str, ...]:
    """The addresses of the file, in the order in which they are tried."""
    return tuple(os.environ.get("NUMBASGD_MIRRORS", "").split()) or MIRRORS


def _given(path: str | os.PathLike[str]) -> Found:
    try:
        place = Path(path)
    except TypeError:
        raise TypeError(
            f"path is a {type(path).__name__}; expected the path of {NAME} or of a folder that holds it. "
            "Leave it out to look in NUMBASGD_DATA_DIR, in the cache and at the mirrors."
        ) from None
    if (file := _file_in(place)) is None:
        what = f"a folder without {NAME}" if place.is_dir() else "no file"
        raise DataError(
            f"path is '{place}', which is {what}; expected {NAME} or a folder that holds it. "
            "Leave it out to look in NUMBASGD_DATA_DIR, in the cache and at the mirrors; airfoil_twin() needs "
            "no file."
        )
    return Found(_verified(file), "argument", file)


def _file_in(place: Path) -> Path | None:
    """``place`` itself, or the file in it if it is a folder; None if there is no such file."""
    file = place / NAME if place.is_dir() else place
    return file if file.is_file() else None


def _verified(file: Path) -> bytes:
    """The bytes of ``file``, which must have the hash that they should have."""
    try:
        with open(file, "rb") as stream:
            content = stream.read(LIMIT)
            digest = hashlib.sha256(content)
            while more := stream.read(LIMIT):
                digest.update(more)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    if digest.hexdigest() == SHA256:
        return content
    crlf = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    hint = (
        "Its line ends were changed on the way, perhaps by git or an editor: copy it as binary."
        if hashlib.sha256(crlf).hexdigest() == SHA256
        else "It is another file, or was changed: remove it, or give the right one."
    )
    raise DataError(f"{file} has sha256 {digest.hexdigest()}; expected {SHA256}. {hint}")


def _kept(cached: Path | None, content: bytes) -> Path | None:
    """Where the downloaded file was kept, None if that is not possible; the caller has its bytes anyway."""
    if cached is not None:
        with suppress(OSError):
            cached.parent.mkdir(parents=True, exist_ok=True)
            write_whole(cached, content)
            return cached
    return None


def _not_found(looked: list[str], cached: Path | None) -> str:
    where = f"into {cached.parent}, or into" if cached else "into"
    places = "".join(f"\n  - {line}" for line in looked)
    return (
        f"The data file {NAME} cannot be had:{places}\n"
        f"Put it (sha256 {SHA256}) {where} a folder that NUMBASGD_DATA_DIR or the argument path names. "
        "airfoil_twin() needs no file."
    )
