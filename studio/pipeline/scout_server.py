"""The scout's server: one scene's page on this machine alone, behind a token in its link.

It listens on 127.0.0.1, answers no other host's name, and takes JSON from its own page only: so no other page that a
browser has open can read the scene or write into it.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from studio.errors import MachineError, StudioError
from studio.pipeline.scout import Scout

LARGEST = 2**20
"""Bytes of a request: thousands of keys."""
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


_META = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')  # of a file, which asks nobody


class ScoutServer(ThreadingHTTPServer):
    """A server of one scout; a context manager. port: 0 for a free one. Raises MachineError if it is taken."""

    daemon_threads = True

    def __init__(self, scout: Scout, port: int = 0):
        self.scout, self.token = scout, secrets.token_urlsafe(24)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise MachineError(f"--port {port}: cannot listen there: {error}; leave it out for a free port") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing for a browser that went away meanwhile."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def link(self) -> str:
        """Where a browser finds the page."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: ScoutServer
    timeout = 30

    def do_GET(self) -> None:
        """The page, its state, or a picture of the first frame."""
        word, scout = self._word(), self.server.scout
        try:
            match word:
                case "":
                    self._send("text/html; charset=utf-8", _META.sub("", scout.page(), 1).encode())
                case "state":
                    site = scout.site()
                    self._send_json({"version": site.version, "note": site.note})
                case "picture.png":
                    self._send("image/png", scout.picture("", (), 0.0))
                case str():
                    self.send_error(404)
        except StudioError as error:
            self._send_json({"error": str(error)}, 400)

    def do_POST(self) -> None:
        """What is done with the keys of a shot: their poses, a picture, or lines of the scene."""
        word, length = self._word(), self.headers.get("Content-Length", "")
        if word is None:
            return None
        own = self.headers.get("Origin", f"http://{self.headers['Host']}") == f"http://{self.headers['Host']}"
        is_json = self.headers.get("Content-Type", "").partition(";")[0] == "application/json"
        if not (own and is_json and length.isdigit() and int(length) <= LARGEST):
            return self.send_error(400)
        try:
            asked: dict[str, Any] = dict(json.loads(self.rfile.read(int(length))))
            shot, keys, scout = str(asked["shot"]), list(asked.get("keys", ())), self.server.scout
            match word:
                case "poses":
                    self._send_json(scout.poses(shot, keys))
                case "picture":
                    self._send("image/png", scout.picture(shot, keys, float(asked.get("at", 0.0))))
                case "write":
                    self._send_json(scout.write(shot, keys, str(asked["seen"])))
                case _:
                    self.send_error(404)
        except StudioError as error:
            self._send_json({"error": str(error)}, 400)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self._send_json({"error": f"this is no request of the page: {error}"}, 400)
        return None

    def _word(self) -> str | None:
        """What is asked for, behind the token; None, with the answer sent, for another host or token."""
        hosts = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
        token, _, word = self.path.partition("?")[0].removeprefix("/").partition("/")
        if self.headers.get("Host") in hosts and secrets.compare_digest(token.encode(), self.server.token.encode()):
            return word
        self.send_error(403, "This link is of no running scout")
        return None

    def _send_json(self, value: dict[str, Any], status: int = 200) -> None:
        self._send("application/json", json.dumps(value).encode(), status)

    def _send(self, kind: str, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store"}
        headers |= {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        for name, word in {**headers, "Referrer-Policy": "no-referrer"}.items():
            self.send_header(name, word)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Nothing: the terminal shows the link alone."""
