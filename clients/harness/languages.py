"""How each language builds its client and runs its suite: the commands that its users know, with caches in .tools/."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import results

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
CLIENTS = ROOT / "clients"
LOGS = TOOLS / "clients"


@dataclass
class Language:
    name: str
    build: list[list[str]]
    test: list[str]
    # What the suite reported, by behaviour.
    read: Callable[[], dict[str, str]]

    @property
    def folder(self) -> Path:
        return CLIENTS / self.name


def environment() -> dict[str, str]:
    """This environment, with every tool and every cache in .tools/, where `make clean` finds them."""
    path = [TOOLS / "npm" / "node_modules" / ".bin", TOOLS / "bin", os.environ["PATH"]]
    return os.environ | {
        "PATH": os.pathsep.join(map(str, path)),
        "GOPATH": str(TOOLS / "go"),
        "GOCACHE": str(TOOLS / "go-build"),
        # Otherwise `make clean` could not remove the modules.
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        # Not beside the source, so that a copy of the crate finds its dependencies built.
        "CARGO_TARGET_DIR": str(TOOLS / "rust-target"),
        "npm_config_cache": str(TOOLS / "npm-cache"),
        "MAVEN_OPTS": f"-Dmaven.repo.local={TOOLS / 'm2'}",
        "PIP_CACHE_DIR": str(TOOLS / "pip-cache"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


PYTHON = str(TOOLS / "clients-venv" / "bin" / "python")

MAVEN = ["mvn", "--quiet", "--batch-mode"]

LANGUAGES = [
    Language(
        "go",
        [["go", "build", "./..."], ["go", "vet", "./..."]],
        ["go", "test", "-json", "-count=1", "./example"],
        lambda: results.go(LOGS / "go.out"),
    ),
    Language(
        "python",
        [["python3", "-m", "venv", str(TOOLS / "clients-venv")], [PYTHON, "-m", "pip", "install", "-q", ".[test]"]],
        [PYTHON, "-m", "pytest", f"--junitxml={LOGS / 'python.xml'}"],
        lambda: results.junit(LOGS / "python.xml"),
    ),
    Language(
        "node",
        [["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], ["npm", "run", "build"]],
        # One after another: the tests set faults in one embedded RAM.
        ["node", "--test", "--test-reporter=junit", "dist/test/behaviours.test.js"],
        lambda: results.junit(LOGS / "node.out"),
    ),
    Language(
        "java",
        [[*MAVEN, "test-compile"]],
        [*MAVEN, "surefire:test"],
        lambda: results.junit(*(CLIENTS / "java" / "target" / "surefire-reports").glob("*.xml")),
    ),
    Language(
        "rust",
        [["cargo", "test", "--locked", "--no-run"]],
        # One after another: the tests set faults in one embedded RAM.
        ["cargo", "test", "--locked", "--test", "behaviours", "--", "--test-threads=1"],
        lambda: results.cargo(LOGS / "rust.out"),
    ),
]
