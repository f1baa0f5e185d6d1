"""The airfoil file from a server on loopback that behaves, and from many that do not."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from loopback import CONTENT, ROWS, SHA256, chunked_short, dripping, not_http, redirect, sending, serving

from numbasgd import DataError, load_airfoil
from numbasgd.data import airfoil, download


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, no other place to look in, and the small file's hash as the expected one."""
    for name in ("NUMBASGD_DATA_DIR", "NUMBASGD_OFFLINE", "NUMBASGD_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NUMBASGD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(airfoil, "SHA256", SHA256)
    monkeypatch.setattr(airfoil, "MIRRORS", ())
    return tmp_path / "cache" / "data"


def use(monkeypatch, *addresses):
    monkeypatch.setenv("NUMBASGD_MIRRORS", " ".join(addresses))


def files(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_right_file_is_kept_and_not_asked_for_again(cache, monkeypatch):
    with serving(file=sending(CONTENT)) as (address, log):
        use(monkeypatch, f"{address}/file")
        X, y = load_airfoil(scale=None)
        found = airfoil.find()
    np.testing.assert_array_equal(np.column_stack((X, y)), ROWS[:1500].astype(np.float32))
    assert log == ["file"]
    assert (found.source, found.path) == ("cache", cache / airfoil.NAME)
    assert files(cache) == [airfoil.NAME]
    assert (cache / airfoil.NAME).read_bytes() == CONTENT


def test_mirrors_of_the_module_are_used_without_the_variable(cache, monkeypatch):
    with serving(file=sending(CONTENT)) as (address, _):
        monkeypatch.setattr(airfoil, "MIRRORS", (f"{address}/file",))
        assert airfoil.find().address == f"{address}/file"


BAD = {
    "wrong hash": (sending(CONTENT[:-1] + b" "), "another file came, .* sha256 [0-9a-f]{64}"),
    "truncated": (sending(CONTENT[:999], length=len(CONTENT)), "ended after 999 of"),
    "truncated, chunked": (chunked_short, "."),
    "empty": (sending(b""), "another file came, 0 bytes"),
    "404": (sending(b"nothing here", status=404), "HTTP 404"),
    "503": (sending(b"later", status=503), "HTTP 503"),
    "too large": (sending(CONTENT * 40), "larger than 1048576 bytes"),
    "not http": (not_http, "220 not the web"),
}


@pytest.mark.parametrize(("answer", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_mirror_is_named_and_the_next_one_tried(answer, reason, cache, monkeypatch):
    with serving(bad=answer, good=sending(CONTENT)) as (address, log):
        use(monkeypatch, f"{address}/bad")
        with pytest.raises(DataError, match=f"{address}/bad: .*{reason}"):
            load_airfoil()
        assert files(cache) == []
        use(monkeypatch, f"{address}/bad", f"{address}/good")
        found = airfoil.find()
    assert found.address == f"{address}/good"
    assert log == ["bad", "bad", "good"]
    assert files(cache) == [airfoil.NAME]


def test_redirect_is_followed(monkeypatch):
    with serving(away=redirect, file=sending(CONTENT)) as (address, _):
        use(monkeypatch, f"{address}/away")
        assert airfoil.find().content == CONTENT


def test_refused_connection_and_what_is_no_web_address(cache, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound, and nobody listens
        refused = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        use(monkeypatch, refused, "ftp://127.0.0.1/file", "http://[bad/file", "http://127.0.0.1:port/file")
        with pytest.raises(DataError) as caught:
            load_airfoil()
    message = str(caught.value)
    assert f"{refused}: " in message and "refused" in message
    assert "ftp://127.0.0.1/file: not an http or https address" in message
    for part in ("http://[bad/file: ", "http://127.0.0.1:port/file: ", SHA256, str(cache), "airfoil_twin()"):
        assert part in message


def test_slow_body_ends_at_the_deadline(monkeypatch):
    monkeypatch.setattr(download, "DEADLINE", 0.1)
    with serving(slow=dripping) as (address, _):
        use(monkeypatch, f"{address}/slow")
        with pytest.raises(DataError, match="not complete after 0.1 seconds"):
            load_airfoil()


def test_silent_server_times_out(monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    done = threading.Event()
    with serving(mute=lambda handler: done.wait(30)) as (address, _):
        use(monkeypatch, f"{address}/mute")
        with pytest.raises(DataError, match="timed out"):
            load_airfoil()
        done.set()


def test_interrupt_half_way_leaves_nothing(cache, monkeypatch):
    gone = threading.Event()

    def half(handler):
        sending(CONTENT[:1000], length=len(CONTENT))(handler)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        gone.wait(30)

    with serving(half=half) as (address, _):
        use(monkeypatch, f"{address}/half")
        with pytest.raises(KeyboardInterrupt):
            load_airfoil()
        gone.set()
    assert files(cache) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_stop_while_writing_leaves_no_part(error, cache, monkeypatch):
    def stop(*args):
        raise error

    with serving(file=sending(CONTENT)) as (address, _):
        use(monkeypatch, f"{address}/file")
        monkeypatch.setattr(os, "replace", stop)
        if error is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                load_airfoil()
        else:
            assert airfoil.find().path is None
    assert files(cache) == []


CHILD = """
import hashlib, sys
from numbasgd.data import airfoil
airfoil.SHA256 = sys.argv[1]
X, y = airfoil.load_airfoil()
print(airfoil.find().source, hashlib.sha256(X).hexdigest())
"""


def test_two_processes_at_once(cache, monkeypatch):
    both_are_here = threading.Barrier(2, timeout=60)

    def together(handler):
        both_are_here.wait()
        sending(CONTENT)(handler)

    with serving(file=together) as (address, log):
        use(monkeypatch, f"{address}/file")
        command = [sys.executable, "-c", CHILD, SHA256]
        where = Path(airfoil.__file__).parents[2]
        children = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=where, text=True) for _ in range(2)]
        printed = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert printed[0] == printed[1] and printed[0].startswith("cache ")
    assert log == ["file", "file"]
    assert files(cache) == [airfoil.NAME]


@pytest.mark.parametrize("value", ["1", "true", " Yes "])
def test_offline_asks_nobody(value, monkeypatch):
    monkeypatch.setenv("NUMBASGD_OFFLINE", value)
    with serving(file=sending(CONTENT)) as (address, log):
        use(monkeypatch, f"{address}/file")
        with pytest.raises(DataError, match=f"{address}/file was not asked: NUMBASGD_OFFLINE"):
            load_airfoil()
    assert log == []


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_offline_can_be_switched_off(value, monkeypatch):
    monkeypatch.setenv("NUMBASGD_OFFLINE", value)
    assert not download.is_forbidden()


def test_wrong_file_in_the_cache_is_replaced(cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / airfoil.NAME).write_bytes(CONTENT[:-9])
    with pytest.raises(DataError, match=hashlib.sha256(CONTENT[:-9]).hexdigest()):
        load_airfoil()
    with serving(file=sending(CONTENT)) as (address, _):
        use(monkeypatch, f"{address}/file")
        assert airfoil.find().source == "download"
    assert (cache / airfoil.NAME).read_bytes() == CONTENT


def test_without_a_cache_folder_the_data_comes_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("NUMBASGD_CACHE_DIR", str(tmp_path / "a file"))  # no folder can be made in it
    with serving(file=sending(CONTENT)) as (address, _):
        use(monkeypatch, f"{address}/file")
        assert airfoil.find().path is None
        monkeypatch.setattr(airfoil, "user_cache_dir", lambda: None)
        assert airfoil.find().path is None
        assert load_airfoil()[0].shape == (1500, 5)
    use(monkeypatch)
    with pytest.raises(DataError, match="no folder for a cache"):
        load_airfoil()
