"""The README's recipe for TLS, run as it stands there, and Python's gRPC with the certificates that it makes."""

import os
import re
import shutil
import subprocess

import grpc
import pytest

from conftest import ROOT, Program
from test_grpcurl import NEW
from test_readme import ADDRESS


def recipe(name: str) -> str:
    """The block of the README behind this mark."""
    blocks = re.findall(rf"<!-- recipe:{name} -->\s*```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1, f"README.md has {len(blocks)} blocks after <!-- recipe:{name} -->"
    return blocks[0]


@pytest.fixture
def secured(binary, tmp_path, monkeypatch):
    """A server as the recipe starts it, on a free port: its address."""
    assert shutil.which("openssl"), "openssl is missing"
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{NEW.parent}{os.pathsep}{os.environ['PATH']}")
    script = recipe("tls-serve").replace("ram-facade serve", "exec ram-facade serve --listen 127.0.0.1:0")
    with Program("bash", "-euc", script, cwd=tmp_path) as program:
        yield program.wait_for(r"^listening on (127\.0\.0\.1:\d+)$")


def test_the_readmes_recipe_for_tls_works_word_for_word(secured, tmp_path):
    assert NEW.is_file(), f"{NEW} is missing; scripts/tools.sh grpcurl installs it"
    calls = ADDRESS.sub(secured, recipe("tls-call"))
    run = subprocess.run(["bash", "-euc", calls], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("SERVING\n")
    assert '"clientToken": "over-tls"' in run.stdout


def test_pythons_grpc_shows_its_certificate(secured, stubs, tmp_path):
    messages, services = stubs
    ca, key, certificate = ((tmp_path / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt"))
    request = messages.CreateResourceShareRequest(name="demo", client_token="from-python")

    with grpc.secure_channel(secured, grpc.ssl_channel_credentials(ca, key, certificate)) as channel:
        created = services.ResourceShareServiceStub(channel).Create(request, timeout=30)
    assert created.resource_share.name == "demo"

    with grpc.secure_channel(secured, grpc.ssl_channel_credentials(ca)) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            services.ResourceShareServiceStub(channel).Create(request, timeout=5)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
