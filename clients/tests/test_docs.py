"""The clients' pages say what the examples do, and what they tell a newcomer to type works.

    python3 clients/tests/test_docs.py --write     puts the examples' code into the pages
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients"))

from harness.facades import Facade
from harness.languages import environment

PAGES = sorted((ROOT / "docs" / "clients").glob("*.md"))
CODE = re.compile(r"(<!-- code: (\S+) (\S+) -->\n```\w*\n)(.*?)(```\n)", re.DOTALL)
RUN = re.compile(r"<!-- run -->\n```sh\n(.*?)```\n", re.DOTALL)


def region(file: str, name: str) -> str:
    """The lines of an example between its marks, without what indents all of them."""
    text = (ROOT / file).read_text()
    found = re.search(rf"^\s*\S+ \[{name}\]\n(.*?)^\s*\S+ \[/{name}\]$", text, re.DOTALL | re.MULTILINE)
    assert found, f"{file} has no region {name}"
    return textwrap.dedent(found.group(1)).strip("\n") + "\n"


def current(page: Path) -> str:
    """The page with the code that the examples have now."""
    return CODE.sub(lambda m: m[1] + region(m[2], m[3]) + m[5], page.read_text())


class Pages(unittest.TestCase):
    def test_the_code_of_a_page_is_the_code_of_its_example(self):
        self.assertTrue(PAGES)
        for page in PAGES:
            with self.subTest(page.name):
                self.assertGreaterEqual(len(CODE.findall(page.read_text())), 4)
                self.assertEqual(page.read_text(), current(page), "run python3 clients/tests/test_docs.py --write")

    def test_what_a_page_tells_to_type_makes_a_share(self):
        with ThreadPoolExecutor(2) as pool:
            for page, run in zip(PAGES, list(pool.map(follow, PAGES))):
                with self.subTest(page.name):
                    self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
                    self.assertRegex(run.stdout, r"arn:aws:ram:us-east-1:111122223333:resource-share/[0-9a-f-]{36}")


def follow(page: Path) -> subprocess.CompletedProcess:
    """Runs the page's shell blocks in a copy of what is under version control, as a newcomer's checkout has it."""
    blocks = RUN.findall(page.read_text())
    assert blocks, f"{page.name} tells nothing to type"
    with tempfile.TemporaryDirectory(prefix="ram-facade-page-") as folder:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "clients", "proto"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for file in listed.stdout.split():
            target = Path(folder) / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, target)
        facade = Facade()
        try:
            return subprocess.run(
                ["bash", "-euc", "\n".join(blocks)],
                cwd=folder,
                env=environment() | {"FACADE_ADDRESS": facade.address},
                capture_output=True,
                text=True,
                timeout=600,
            )
        finally:
            facade.stop()


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for page in PAGES:
            page.write_text(current(page))
    else:
        unittest.main()
