"""`dataaudit review --serve`: the page on this computer alone, its decisions in the run directory.

Only this computer can reach it (127.0.0.1), only under an address that nobody can guess, only by
the name that it has (no other site's name may lead here), and only the page itself may write.
"""

from __future__ import annotations

import secrets
import threading
import webbrowser
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from dataaudit import progress
from dataaudit.errors import DataAuditError
from dataaudit.report.render import render
from dataaudit.review.decisions.received import OutdatedError, ReceivedDecisions, version_of
from dataaudit.run_directory.finished import as_read_back
from dataaudit.run_directory.store import DECISIONS

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes of decisions that are taken in: all rows of a page, each with a long note, are fewer."""
SECONDS_OF_PATIENCE = 30.0
"""With a client that does not go on with its request."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(directory: Path) -> Iterator[str]:
    """Serve the page of a finished audit until Ctrl-C, and say first where, in lines.

    Raises
    ------
    DataAuditError
        There is no finished audit, or its `decisions.csv` does not fit it.
    """
    with PageServer(directory) as server:
        address = f"{server.address}#decide"
        # A browser of the terminal would keep the page from being served while it is open.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        yield f"page: {address}"
        yield f"decisions go to {(directory / DECISIONS).absolute()}; Ctrl-C ends this, then:"
        yield f"dataaudit relabel {directory} --out FILE"
        server.serve_forever()


class PageServer(ThreadingHTTPServer):
    """The page and its decisions, under an address with a random token in it."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        self.decisions = ReceivedDecisions(directory)
        self.token = secrets.token_urlsafe(32)
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_port}"

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{self.host}/{self.token}/"

    def service_actions(self) -> None:
        """Tell who watches over commands that waiting for requests is what this one does."""
        progress.count_step()

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over connections that a browser has cut off."""


class _Handler(BaseHTTPRequestHandler):
    server_version = "dataaudit"
    sys_version = ""
    timeout = SECONDS_OF_PATIENCE

    @property
    def _server(self) -> PageServer:
        return cast(PageServer, self.server)

    def do_GET(self) -> None:
        name = self._asked_for()
        if name is None:
            return
        decisions = self._server.decisions
        if name == DECISIONS:
            content = decisions.content()
            self._answer(HTTPStatus.OK, content, "text/csv", version_of(content))
            return
        try:
            with as_read_back(decisions.path.parent):
                page = render(decisions.audit().report, served=True)
        except (DataAuditError, OSError) as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
            return
        self._answer(HTTPStatus.OK, page.encode("utf-8"), "text/html")

    def do_PUT(self) -> None:
        if self.headers.get("Origin") != f"http://{self._server.host}":
            self._refuse(HTTPStatus.FORBIDDEN, "only the page itself may write")
            return
        name = self._asked_for()
        if name is None:
            return
        length = self.headers.get("Content-Length", "")
        if name != DECISIONS:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "the page is only read")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length in bytes")
        elif len(length) > 12 or int(length) > LARGEST_BODY:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"found {length[:20]} bytes of decisions, at most {LARGEST_BODY:,} are taken",
            )
        else:
            content = self.rfile.read(int(length))
            if len(content) == int(length):
                self._replace(content)

    def _replace(self, content: bytes) -> None:
        version = self.headers.get("If-Match", "").strip('"')
        try:
            new = self._server.decisions.replace(content, version)
        except OutdatedError:
            self._refuse(HTTPStatus.PRECONDITION_FAILED, "decided elsewhere in the meantime")
        except (DataAuditError, OSError) as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        else:
            self._answer(HTTPStatus.OK, b"", "text/plain", new)

    def _asked_for(self) -> str | None:
        """Return the name of what is asked for; None where that was refused."""
        if self.headers.get_all("Host") != [self._server.host]:
            self._refuse(HTTPStatus.FORBIDDEN, "asked for under another name than its own")
            return None
        first, _, name = self.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(first.encode(), self._server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the address lacks its token")
            return None
        if name not in ("", DECISIONS):
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing else here")
            return None
        return name

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        self._answer(status, words.encode("utf-8"), "text/plain")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str, version: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if version:
            self.send_header("ETag", f'"{version}"')
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print no line for each request."""
