"""A small web server on loopback, a made file to serve, and the ways to answer, good and bad."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

ROWS = np.arange(1503 * 6).reshape(1503, 6) % 251 / 8
CONTENT = b"".join(b"\t".join(b"%g" % x for x in row) + b"\r\n" for row in ROWS)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@contextmanager
def serving(**routes):
    """A server whose path /name is answered by ``routes[name](handler)``; gives its address and its log."""
    log = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            log.append(self.path[1:])
            routes[self.path[1:]](self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sending(content, length=None, status=200):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def redirect(handler):
    handler.send_response(302)
    handler.send_header("Location", "/file")
    handler.end_headers()


def chunked_short(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"100\r\n" + CONTENT[:50])


def not_http(handler):
    handler.wfile.write(b"220 not the web\r\n")


def dripping(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        while not handler.server.socket._closed:
            handler.wfile.write(b"1")
            threading.Event().wait(0.01)
    except OSError:
        pass
