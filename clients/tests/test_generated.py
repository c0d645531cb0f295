"""The generated Go code, which is committed as is usual in Go, is what the contract generates now."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients"))

from harness.languages import environment


class Generated(unittest.TestCase):
    def test_the_go_code_is_current(self):
        with tempfile.TemporaryDirectory(prefix="ram-facade-go-") as folder:
            for part in ("proto", "clients/go"):
                shutil.copytree(ROOT / part, Path(folder) / part)
            here, there = ROOT / "clients/go/ramfacade", Path(folder) / "clients/go/ramfacade"
            shutil.rmtree(there)
            made = subprocess.run(
                ["go", "generate", "./..."],
                cwd=there.parent,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=600,
            )
            self.assertEqual(made.returncode, 0, made.stderr)
            files = sorted(path.relative_to(there) for path in there.rglob("*.go"))
            self.assertEqual(files, sorted(path.relative_to(here) for path in here.rglob("*.go")))
            for file in files:
                with self.subTest(file):
                    # Not assertEqual: its diff of a thousand lines would hide the sentence.
                    same = (here / file).read_text() == (there / file).read_text()
                    self.assertTrue(same, "run `go generate ./...` in clients/go")


if __name__ == "__main__":
    unittest.main()
