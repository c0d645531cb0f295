"""The README's session with grpcurl, run as it stands there: its commands, and what they print."""

import os
import re
import subprocess

from conftest import ROOT
from test_grpcurl import NEW

MARK = re.compile(r"<!-- session:grpcurl -->\s*```[a-z]*\n(.*?)```", re.DOTALL)
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):50051")


def session() -> list[tuple[str, str]]:
    """The commands of the marked block, each with what the README says that it prints."""
    blocks = MARK.findall((ROOT / "README.md").read_text())
    assert blocks, "README.md has no block after <!-- session:grpcurl -->"
    steps = []
    for part in re.split(r"^\$ ", "\n".join(blocks), flags=re.MULTILINE)[1:]:
        # A command goes on over lines that end with a backslash, and inside single quotes.
        lines = part.split("\n")
        taken = 1
        while lines[taken - 1].endswith("\\") or "\n".join(lines[:taken]).count("'") % 2:
            taken += 1
        steps.append(("\n".join(lines[:taken]), "\n".join(lines[taken:])))
    return [step for step in steps if "grpcurl" in step[0]]


def pattern(shown: str) -> str:
    """What is shown, as a pattern: ids and times differ from run to run, and `...` stands for anything."""
    text = re.escape(" ".join(shown.split()))
    uuid = r"[0-9a-f]{8}(?:\\?-[0-9a-f]{4}){3}\\?-[0-9a-f]{12}"
    text = re.sub(uuid, lambda _: r"[0-9a-f-]{36}", text)
    text = re.sub(r"\d{4}\\?-\d\d\\?-\d\dT[\d:.\\]+Z", lambda _: r"\S+Z", text)
    return text.replace(r"\.\.\.", ".*")


def test_the_readmes_session_goes_as_shown(facade):
    assert NEW.is_file(), f"{NEW} is missing; scripts/tools.sh grpcurl installs it"
    path = f"{NEW.parent}{os.pathsep}{os.environ['PATH']}"
    steps = session()
    assert steps

    for command, shown in steps:
        run = subprocess.run(
            ["bash", "-c", ADDRESS.sub(facade.address, command)],
            env=os.environ | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        printed = " ".join(run.stdout.split())
        assert re.fullmatch(pattern(shown), printed, re.DOTALL), f"$ {command}\n{run.stdout}"
