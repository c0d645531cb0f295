"""The contract cannot be broken by accident: every change that could break a caller fails `buf breaking`.

Run by `make check`: python3 -m unittest discover tests/contract
"""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUF = ROOT / ".tools" / "npm" / "node_modules" / ".bin" / "buf"
RELEASED = ROOT / "proto" / "released" / "ramfacade.binpb"
SERVICE = "ramfacade/v1/resource_share_service.proto"

# What changes, the text before and after, and what buf has to say of it.
BREAKING = [
    ("a field is renamed", "string name = 1;\n\n  // ARNs", "string title = 1;\n\n  // ARNs", "changed name from"),
    ("a field is renumbered", "repeated string principals = 3;", "repeated string principals = 33;", "was deleted"),
    ("a field is retyped", "string client_token = 6;", "bytes client_token = 6;", "changed type from"),
    (
        "a list becomes a single value",
        "repeated string sources = 8;",
        "string sources = 8;",
        "changed cardinality from",
    ),
    (
        "a field loses its presence",
        "optional bool allow_external_principals = 5;",
        "bool allow_external_principals = 5;",
        "changed cardinality from",
    ),
    ("a field is removed", "  bool validate_only = 11;\n", "", "was deleted"),
    ("two fields change places", "string key = 1;", "string key = 3;", "was deleted"),
    ("a method is renamed", "rpc Create(", "rpc CreateShare(", "was deleted"),
    (
        "a method becomes a stream",
        "returns (CreateResourceShareResponse)",
        "returns (stream CreateResourceShareResponse)",
        "changed from server unary to server streaming",
    ),
    (
        "a method takes another message",
        "rpc Create(CreateResourceShareRequest)",
        "rpc Create(ListResourceTypesRequest)",
        "changed request type from",
    ),
    (
        "an enum value is renumbered",
        "RESOURCE_SHARE_STATUS_ACTIVE = 2;",
        "RESOURCE_SHARE_STATUS_ACTIVE = 12;",
        "was deleted",
    ),
    (
        "an enum value is renamed",
        "RESOURCE_SHARE_STATUS_FAILED = 3;",
        "RESOURCE_SHARE_STATUS_BROKEN = 3;",
        "changed name from",
    ),
    ("a message is renamed", "message Tag {", "message Label {", "was deleted"),
    ("the package is renamed", "package ramfacade.v1;", "package ramfacade.v2;", "package changed from"),
    (
        "Java's classes move",
        "option java_multiple_files = true;",
        "option java_multiple_files = false;",
        "java_multiple_files",
    ),
]

# What may change: callers do not notice.
COMPATIBLE = [
    ("nothing", "", ""),
    ("a comment", "// Name of the share. Required.", "// What the share is called. Required."),
    ("a new field", "bool validate_only = 11;", "bool validate_only = 11;\n\n  // New.\n  string purpose = 12;"),
    (
        "a new enum value",
        "RESOURCE_SHARE_STATUS_DELETED = 5;",
        "RESOURCE_SHARE_STATUS_DELETED = 5;\n  // New.\n  RESOURCE_SHARE_STATUS_NEW = 6;",
    ),
]


class Breaking(unittest.TestCase):
    def check(self, before, after):
        """What buf says of a copy of the contract with this change, and whether it accepts it."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "proto"
            shutil.copytree(ROOT / "proto", copy)
            file = copy / SERVICE
            text = file.read_text()
            self.assertIn(before, text, "the contract has no such text any more")
            text = text.replace(before, after, 1)
            if "message Label" in after:
                text = text.replace("repeated Tag ", "repeated Label ")
            file.write_text(text)
            command = [BUF, "breaking", "--against", RELEASED]
            run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)
            self.assertIn(run.returncode, (0, 100), run.stderr)
            return run.returncode == 0, run.stdout

    def test_what_breaks_a_caller_is_refused(self):
        for what, before, after, sentence in BREAKING:
            with self.subTest(what):
                accepted, said = self.check(before, after)
                self.assertFalse(accepted, "it was accepted")
                self.assertIn(sentence, said)

    def test_what_no_caller_notices_is_accepted(self):
        for what, before, after in COMPATIBLE:
            with self.subTest(what):
                accepted, said = self.check(before, after)
                self.assertTrue(accepted, said)


if __name__ == "__main__":
    unittest.main()
