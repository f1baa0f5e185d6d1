"""One file from one web address, whole and with the right hash, or the reason why not."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from numbasgd.errors import DataError

TIMEOUT = 10.0  # seconds without a single byte
DEADLINE = 60.0  # seconds for the whole file: a server that drips a byte now and then never times out
_CHUNK = 1 << 16


def is_forbidden() -> bool:
    """Whether ``NUMBASGD_OFFLINE`` forbids the network."""
    return os.environ.get("NUMBASGD_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def fetch(address: str, sha256: str, limit: int) -> bytes:
    """The bytes at ``address``, at most ``limit`` of them, with the hash that they should have.

    Raises ``DataError``, its text the reason alone ("HTTP 404 Not Found", "timed out"), for the caller to
    put into a sentence.  Nothing is written anywhere.
    """
    # Imported here: urllib, and ssl with it, would make importing numbasgd slower for everybody.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    from numbasgd import __version__

    if not address.lower().startswith(("http://", "https://")):
        raise DataError("not an http or https address")
    try:
        request = Request(address, headers={"User-Agent": f"numbasgd/{__version__}"})
        with urlopen(request, timeout=TIMEOUT) as response:
            content = _read(response, limit)
    except HTTPError as error:
        with error:
            raise DataError(f"HTTP {error.code} {error.reason}") from None
    except URLError as error:
        raise DataError(str(error.reason)) from None
    except DataError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(str(error) or type(error).__name__) from None
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(f"another file came, {len(content)} bytes with sha256 {found}")
    return content


def _read(response: Any, limit: int) -> bytes:
    """The body of ``response``; a short, long or slow one is an error."""
    stop = time.monotonic() + DEADLINE
    announced = response.headers.get("Content-Length", "")
    content = bytearray()
    while chunk := response.read1(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise DataError(f"the file there is larger than {limit} bytes")
        if time.monotonic() > stop:
            raise DataError(f"not complete after {DEADLINE:g} seconds")
    if announced.isdecimal() and len(content) != int(announced):
        raise DataError(f"the connection ended after {len(content)} of {announced} bytes")
    return bytes(content)
