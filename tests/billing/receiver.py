"""A receiver of deliveries on this machine, which remembers what came and answers as told."""

from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.fixtures.serving import serving


class Came(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.came: list[Came] = []
        self.answers: list[tuple[int, dict[str, str]]] = []  # the next ones; then 204

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/in"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def take(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.came.append(Came(self.command, self.path, headers, body))
        status, more = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0" if status != 418 else "5")
        self.end_headers()
        if status == 418:
            self.wfile.write(b"short")

    do_POST = do_PUT = take

    def log_message(self, *_args) -> None:
        """Say nothing: the tests read what came."""


def receiver() -> AbstractContextManager[Receiver]:
    return serving(Receiver())
