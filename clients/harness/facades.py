"""Starts the built service, as many times and with whatever settings the suites need."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("RAM_FACADE_BIN", ROOT / "target" / "debug" / "ram-facade"))
# A debug build on a busy machine takes its time.
START_SECONDS = 60


class Facade:
    """A running service with its embedded RAM."""

    def __init__(self, settings: dict[str, str] | None = None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAM_FACADE_", "RUST_LOG"))}
        environment |= {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_REGION": "us-east-1",
            # A fixed rate that no suite reaches: pacing has tests of its own.
            "RAM_FACADE_PACE_INITIAL_RATE": "10000",
            "RAM_FACADE_PACE_MIN_RATE": "10000",
            "RAM_FACADE_PACE_MAX_RATE": "10000",
        }
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._folder = tempfile.TemporaryDirectory(prefix="ram-facade-")
        self._process = subprocess.Popen(
            [BINARY, "serve", "--sandbox", "--listen", "127.0.0.1:0"],
            cwd=self._folder.name,
            env=environment | (settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.address = self._said(r"^listening on (127\.0\.0\.1:\d+)$")
            self.sandbox = self._said(r"^sandbox listening on (http://\S+)$")
        except BaseException:
            self.stop()
            raise

    def _read(self) -> None:
        # To the end, so that a full pipe never stops the service.
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _said(self, pattern: str) -> str:
        end = time.monotonic() + START_SECONDS
        with self._news:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found.group(1)
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError(f"{BINARY} did not say /{pattern}/, but:\n" + "\n".join(self.lines))
                self._news.wait(0.2)

    def terminate(self) -> None:
        """Asks the service to drain and end, and returns at once."""
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Waits for the end."""
        return self._process.wait(60)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._reader.join(5)
            self._process.stdout.close()
        self._folder.cleanup()
