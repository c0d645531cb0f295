"""Builds the clients, runs their suites against the built service, and prints which language sees which behaviour.

    python3 clients/run.py [LANGUAGE...]      `make clients` installs what it needs first

Fails when a cell of the table is red or missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from harness.languages import CLIENTS, LANGUAGES, LOGS, Language, environment
from harness.results import MISSING, PASSED, plain, table
from harness.scene import scene

# Behaviours that the service does not have yet, and why. One that passes all the same has to be taken off.
NOT_YET: dict[str, str] = {}
# What one language shows for all: the table has no row for it.
ALONE = {"node": ["grpc_web"]}
# Several suites wait more than they compute.
AT_ONCE = 2
# A build that hangs must not hang the run.
LIMIT_SECONDS = 900


def run(language: Language) -> tuple[dict[str, str], str]:
    """The results of one language, and a line on the time that it took."""
    log = (LOGS / f"{language.name}.log").open("w")
    began = time.monotonic()

    def command(parts: list[str], more: dict[str, str], out) -> bool:
        log.write(f"$ {' '.join(parts)}\n")
        log.flush()
        done = subprocess.run(
            parts,
            cwd=language.folder,
            env=environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            timeout=LIMIT_SECONDS,
        )
        return done.returncode == 0

    if not all(command(parts, {}, log) for parts in language.build):
        return {}, f"{language.name}: does not build, see {log.name}"
    built = time.monotonic()
    with scene() as env, (LOGS / f"{language.name}.out").open("w") as out:
        command(language.test, env, out)
    ended = time.monotonic()
    said = f"{language.name}: built in {built - began:.0f} s, tested in {ended - built:.0f} s"
    return language.read(), said


def main(chosen: list[str]) -> int:
    languages = [language for language in LANGUAGES if not chosen or language.name in chosen]
    if unknown := set(chosen) - {language.name for language in languages}:
        print(f"no such language: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    behaviours = json.loads((CLIENTS / "behaviours.json").read_text())["behaviours"]
    LOGS.mkdir(parents=True, exist_ok=True)
    for old in LOGS.glob("*.*"):
        old.unlink()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(run, languages))
    columns = {language.name: found for language, (found, _) in zip(languages, done)}

    print(*(said for _, said in done), "", table(behaviours, columns), "", sep="\n")
    passed = failed = 0
    for language, found in columns.items():
        for behaviour in behaviours + ALONE.get(language, []):
            cell = found.get(plain(behaviour), MISSING)
            if behaviour in NOT_YET:
                if cell == PASSED:
                    failed += 1
                    print(f"{language}: {behaviour} passes; take it off NOT_YET in clients/run.py")
            elif cell == PASSED:
                passed += 1
            else:
                failed += 1
                print(f"{language}: {behaviour} is {cell}; see {LOGS}/{language}.out and {language}.log")
        for extra in set(found) - set(map(plain, [*behaviours, *ALONE.get(language, [])])):
            failed += 1
            print(f"{language}: {extra} is no behaviour of clients/behaviours.json")
    for behaviour, why in NOT_YET.items():
        print(f"not yet: {behaviour}: {why}")
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
