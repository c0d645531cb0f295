"""Starts the built service, as many times and with whatever settings the suites need."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .program import Program

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("RAM_FACADE_BIN", ROOT / "target" / "debug" / "ram-facade"))

SETTINGS = {
    # A fixed rate that no suite reaches: pacing has tests of its own.
    "RAM_FACADE_PACE_INITIAL_RATE": "10000",
    "RAM_FACADE_PACE_MIN_RATE": "10000",
    "RAM_FACADE_PACE_MAX_RATE": "10000",
}


class Facade:
    """A running service with its embedded RAM."""

    def __init__(self, settings: dict[str, str] | None = None):
        self._folder = tempfile.TemporaryDirectory(prefix="ram-facade-")
        command = [BINARY, "serve", "--sandbox", "--listen", "127.0.0.1:0"]
        self._program = Program(*command, cwd=self._folder.name, settings=SETTINGS | (settings or {}))
        try:
            self.address = self._program.wait_for(r"^listening on (127\.0\.0\.1:\d+)$")
            self.sandbox = self._program.wait_for(r"^sandbox listening on (http://\S+)$")
        except BaseException:
            self.stop()
            raise

    def terminate(self) -> None:
        """Asks the service to drain and end, and returns at once."""
        self._program.terminate()

    def exit_code(self) -> int:
        """Waits for the end."""
        return self._program.exit_code()

    def stop(self) -> None:
        """Ends it at once: whoever waits for a drain asks for it before."""
        try:
            self._program.stop(patience=0)
        finally:
            self._folder.cleanup()
