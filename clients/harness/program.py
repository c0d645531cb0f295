"""A child process of the suites, and the look for secrets in what it writes. tests/real_clients uses it too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

# A debug build on a busy machine takes its time.
START_SECONDS = 60

# Canaries that go into every program where it takes secrets.
_SECRETS = {
    "canary-secret-access-key": "AWS_SECRET_ACCESS_KEY",
    "canary-session-token": "AWS_SESSION_TOKEN",
}


def keep(what: str, secret: str) -> None:
    """From now on no program may show `secret`."""
    _SECRETS[secret] = what


def assert_hidden(place: str, text: str) -> None:
    """Fails if `text`, which came out at `place`, shows a secret, without showing it once more."""
    for number, line in enumerate(text.splitlines(), 1):
        for secret, what in _SECRETS.items():
            if secret in line:
                raise AssertionError(f"{place}, line {number}, shows {what}: {line.replace(secret, '[the secret]')}")


def environment() -> dict[str, str]:
    """This environment with canaries for AWS's secrets, and nothing else that could change what is tested."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("AWS_", "RAM_FACADE_", "RUST_LOG"))}
    secrets = {what: secret for secret, what in _SECRETS.items() if what.startswith("AWS_")}
    return kept | secrets | {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


class Program:
    """A child process that says on its output where it listens. It never outlives the `with` block."""

    def __init__(self, *command: str | Path, cwd: str | Path, settings: dict[str, str] | None = None):
        self.command = [str(part) for part in command]
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            self.command,
            cwd=cwd,
            env=environment() | (settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        # Reads to the end, so that a full pipe never stops the child.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern: str) -> str:
        """The first group of `pattern` in the first line that has it."""
        end = time.monotonic() + START_SECONDS
        with self._news:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found.group(1)
                left = end - time.monotonic()
                if left <= 0 or (self._process.poll() is not None and not self._reader.is_alive()):
                    break
                self._news.wait(min(left, 0.5))
        said = "\n".join(self.lines)
        raise AssertionError(f"{' '.join(self.command)} did not say /{pattern}/, but:\n{said}")

    def terminate(self) -> None:
        """Asks it to end, and returns at once."""
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Waits for the end."""
        return self._process.wait(60)

    def stop(self, patience: float = 15) -> None:
        """Ends it, by force after `patience` seconds, and fails if anything that it wrote shows a secret."""
        if self._process.poll() is None and patience > 0:
            self.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        if self._process.stdout:
            self._process.stdout.close()
        assert_hidden(f"the output of {self.command[0]}", "\n".join(self.lines))

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
