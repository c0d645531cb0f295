"""Every block of the README that is meant for a shell is run by a test; those that no other file runs, here."""

import re
import subprocess

from conftest import ROOT, Program
from harness.program import assert_hidden, keep
from test_grpcurl import NEW
from test_tls import recipe

# Where each is run. `session:policy` belongs to tests/policy.rs, the others to this folder.
RUN = {"session:grpcurl", "session:policy", "recipe:tls-serve", "recipe:tls-call", "recipe:run", "recipe:serve"}

TOKEN = "canary-token-of-the-recipe"
LISTENING = r"^listening on (127\.0\.0\.1:\d+)$"


def test_every_block_for_a_shell_is_run_by_a_test():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"(?:<!-- (\S+) -->\n)?```(?:sh|console|bash)\n", text)

    assert set(blocks) == RUN
    assert len(blocks) == len(RUN)


def test_make_run_serves_with_the_embedded_ram(binary):
    # On a free port. `timeout` ends everything that make has started when it is ended itself.
    command = recipe("run").split()
    with Program("env", "RAM_FACADE_LISTEN=127.0.0.1:0", "timeout", "300", *command, cwd=ROOT) as program:
        address = program.wait_for(LISTENING)
        listed = subprocess.run([NEW, "-plaintext", address, "list"], capture_output=True, text=True, timeout=30)

    assert "ramfacade.v1.ResourceShareService" in listed.stdout, listed.stderr


def test_the_recipe_to_serve_in_earnest_works_with_its_paths_moved(binary, tmp_path):
    keep("the bearer token", TOKEN)
    hashing, serving = recipe("serve").split("\n", 1)
    places = {"/etc/ram-facade": "etc", "/var/lib/ram-facade": "lib", "/var/log/ram-facade": "log"}
    for place, moved in places.items():
        (tmp_path / moved).mkdir()
        serving = serving.replace(place, str(tmp_path / moved))
    hashed = subprocess.run(["bash", "-euc", hashing], env={"TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}, capture_output=True)
    tokens = tmp_path / "etc" / "tokens"
    tokens.write_text(f"{hashed.stdout.decode().split()[0]} network-team\n")
    tokens.chmod(0o600)
    policies = tmp_path / "etc" / "policies"
    policies.mkdir()
    policy = 'permit (principal == RamFacade::Caller::"static-token/network-team", action, resource);'
    (policies / "team.cedar").write_text(policy)

    with Program(binary, "sandbox", "--listen", "127.0.0.1:0", cwd=tmp_path) as ram:
        endpoint = ram.wait_for(r"^sandbox listening on (\S+)$")
        serving = serving.replace("0.0.0.0:50051", "127.0.0.1:0")
        serving = serving.replace("ram-facade serve", f"exec {binary} serve --ram-endpoint {endpoint}", 1)
        with Program("bash", "-euc", serving, cwd=tmp_path) as program:
            address = program.wait_for(LISTENING)
            call = [NEW, "-plaintext", "-H", f"authorization: Bearer {TOKEN}", "-d", "{}", address]
            call.append("ramfacade.v1.ResourceShareService/ListResourceTypes")
            answer = subprocess.run(call, capture_output=True, text=True, timeout=30)

    assert answer.returncode == 0, answer.stderr
    assert "resourceTypes" in answer.stdout
    audit = (tmp_path / "log" / "audit.jsonl").read_text()
    assert "ListResourceTypes" in audit
    assert_hidden("the audit log", audit)
