"""A small HTTP server by which a suite starts, drains and watches services of its own, whatever its language.

POST /facade              starts a service: {"id", "address", "sandbox"}
POST /facade/ID/terminate asks it to drain
GET  /facade/ID/exit      waits for its end: {"code"}
GET  /tap                 what went through the relay so far
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .facades import Facade
from .tap import Tap


class Control:
    def __init__(self, tap: Tap):
        self._tap = tap
        self._facades: list[Facade] = []
        self._lock = threading.Lock()
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self._answer(control.post(self.path))

            def do_GET(self) -> None:
                self._answer(control.get(self.path))

            def _answer(self, value: dict) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def post(self, path: str) -> dict:
        if path == "/facade":
            facade = Facade()
            with self._lock:
                self._facades.append(facade)
                return {"id": len(self._facades) - 1, "address": facade.address, "sandbox": facade.sandbox}
        self._facades[int(path.split("/")[2])].terminate()
        return {}

    def get(self, path: str) -> dict:
        if path == "/tap":
            return self._tap.counts
        return {"code": self._facades[int(path.split("/")[2])].exit_code()}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for facade in self._facades:
            facade.stop()
