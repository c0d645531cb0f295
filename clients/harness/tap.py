"""A relay between a client and the service that counts what went by, where neither side tells.

It proves that a ping was sent and that a message was compressed: a client library that ignores its own setting would
otherwise pass.
"""

from __future__ import annotations

import socket
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, GOAWAY, PING = 0x0, 0x7, 0x6
ACK = 0x1


class Tap:
    """Listens on a port of its own and hands every byte on, both ways."""

    def __init__(self, upstream: str):
        host, port = upstream.rsplit(":", 1)
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self.counts = {"connections": 0, "pings": 0, "pongs": 0, "compressed": 0, "goaways": 0}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._count("connections")
            server = socket.create_connection(self._upstream)
            for source, sink, sent in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._relay, args=(source, sink, sent), daemon=True).start()

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def _relay(self, source: socket.socket, sink: socket.socket, sent: bool) -> None:
        frames = Frames(preface=sent)
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
                for kind, flags, head in frames.feed(data):
                    self._see(kind, flags, head, sent)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _see(self, kind: int, flags: int, head: bytes, sent: bool) -> None:
        if kind == PING and sent and not flags & ACK:
            self._count("pings")
        elif kind == PING and not sent and flags & ACK:
            self._count("pongs")
        # Behind the last stream stands the error code; 0 is how any connection ends.
        elif kind == GOAWAY and not sent and any(head[4:8]):
            self._count("goaways")
        # Each call here is one small message in one frame: its first byte says whether it is compressed.
        elif kind == DATA and sent and head[:1] == b"\1":
            self._count("compressed")

    def close(self) -> None:
        self._listener.close()


class Frames:
    """Cuts a stream of bytes into HTTP/2 frames: kind, flags and the first 8 bytes of each."""

    def __init__(self, preface: bool):
        self._buffer = b""
        self._skip = len(PREFACE) if preface else 0

    def feed(self, data: bytes):
        self._buffer += data
        if self._skip:
            if len(self._buffer) < self._skip:
                return
            self._buffer, self._skip = self._buffer[self._skip :], 0
        while len(self._buffer) >= 9:
            end = 9 + int.from_bytes(self._buffer[:3])
            if len(self._buffer) < end:
                return
            yield self._buffer[3], self._buffer[4], self._buffer[9 : min(end, 17)]
            self._buffer = self._buffer[end:]
