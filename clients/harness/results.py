"""Reads what the languages' own test runners report, and puts it into one table."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as xml
from pathlib import Path

PASSED, FAILED, MISSING = "ok", "FAILED", "missing"


def plain(name: str) -> str:
    """A test's name as it is the same in every language: TestGzip, test_gzip, gzip() and gzip are one."""
    name = re.split(r"[\[(/]", name)[0].lower()
    return re.sub(r"[^a-z0-9]", "", name).removeprefix("test")


def merge(results: dict[str, str], name: str, result: str) -> None:
    """Several cases of one behaviour: one that failed decides."""
    name = plain(name)
    order = [PASSED, MISSING, FAILED]
    results[name] = max(results.get(name, PASSED), result, key=order.index)


def go(output: Path) -> dict[str, str]:
    """`go test -json`. A skipped test did not show its behaviour, so that its cell is missing."""
    results: dict[str, str] = {}
    words = {"pass": PASSED, "fail": FAILED, "skip": MISSING}
    for line in output.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("Test") and event.get("Action") in words:
            merge(results, event["Test"], words[event["Action"]])
    return results


def cargo(output: Path) -> dict[str, str]:
    """The lines of Rust's own test runner."""
    results: dict[str, str] = {}
    words = {"ok": PASSED, "FAILED": FAILED, "ignored": MISSING}
    # What a test prints may stand between its name and its result.
    for name, word in re.findall(r"^test (\S+) \.\.\. .*?(ok|FAILED|ignored)$", output.read_text(), re.MULTILINE):
        merge(results, name, words[word])
    return results


def junit(*outputs: Path) -> dict[str, str]:
    """JUnit's XML, as pytest, Node's test runner and Surefire write it."""
    results: dict[str, str] = {}
    for output in outputs:
        for case in xml.parse(output).iter("testcase"):
            kinds = {child.tag for child in case}
            result = FAILED if kinds & {"failure", "error"} else MISSING if "skipped" in kinds else PASSED
            merge(results, case.attrib["name"], result)
    return results


def table(behaviours: list[str], columns: dict[str, dict[str, str]]) -> str:
    """Behaviours down, languages across."""
    width = max(map(len, behaviours)) + 2
    lines = ["".ljust(width) + "".join(language.ljust(10) for language in columns)]
    for behaviour in behaviours:
        cells = [results.get(plain(behaviour), MISSING) for results in columns.values()]
        lines.append(behaviour.ljust(width) + "".join(cell.ljust(10) for cell in cells))
    return "\n".join(line.rstrip() for line in lines)
