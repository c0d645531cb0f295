"""grpcurl, today's and an old one, by reflection alone: as a person at a terminal uses the service."""

import json
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT, SERVICE

NEW = ROOT / ".tools" / "bin" / "grpcurl"
# 1.8.6 asks for reflection v1alpha only; today's for v1 first.
OLD = Path(sys.executable).parent / "grpcurl"


@dataclass
class Grpcurl:
    path: Path
    address: str

    def run(self, *arguments: str, flags: tuple = ()) -> subprocess.CompletedProcess:
        command = [self.path, "-plaintext", "-max-time", "30", *flags, self.address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def create(self, *flags: str, **fields) -> subprocess.CompletedProcess:
        return self.run(f"{SERVICE}/Create", flags=(*flags, "-d", json.dumps(fields)))


@pytest.fixture(params=[NEW, OLD], ids=["new", "1.8.6"])
def tool(request) -> Path:
    assert request.param.is_file(), f"{request.param} is missing; scripts/tools.sh grpcurl python installs it"
    return request.param


@pytest.fixture
def grpcurl(tool, facade) -> Grpcurl:
    return Grpcurl(tool, facade.address)


def test_services_and_methods_are_listed(grpcurl):
    services = grpcurl.run("list")
    methods = grpcurl.run("list", SERVICE)

    assert services.returncode == 0, services.stderr
    assert SERVICE in services.stdout.split()
    assert "grpc.health.v1.Health" in services.stdout.split()
    assert {f"{SERVICE}.Create", f"{SERVICE}.ListResourceTypes"} <= set(methods.stdout.split())


def test_the_service_and_its_messages_are_described(grpcurl):
    service = grpcurl.run("describe", SERVICE)
    message = grpcurl.run("describe", "ramfacade.v1.CreateResourceShareRequest")

    assert service.returncode == 0, service.stderr
    assert "rpc Create ( .ramfacade.v1.CreateResourceShareRequest )" in service.stdout
    # The contract's comments are part of what reflection serves.
    assert "Creates a resource share" in service.stdout
    assert "string client_token = 6;" in message.stdout


def test_a_share_is_created_and_its_token_replayed(grpcurl, facade):
    request = {"name": "demo", "client_token": str(uuid.uuid4())}

    first = grpcurl.create("-v", **request)
    second = grpcurl.create("-v", **request)

    arns = [re.search(r'"resourceShareArn": "([^"]+)"', run.stdout) for run in (first, second)]
    assert all(arns), first.stderr + second.stderr
    assert arns[0].group(1) == arns[1].group(1)
    # A whole line: -v also prints the contract's comments, which speak of the header.
    replayed = [re.search("^idempotency-replayed: true$", run.stdout, re.MULTILINE) for run in (first, second)]
    assert replayed[0] is None and replayed[1]
    assert facade.sandbox.executions() == 1


def test_another_name_under_the_token_is_refused(grpcurl):
    token = str(uuid.uuid4())
    grpcurl.create(name="one", client_token=token)

    refused = grpcurl.create(name="other", client_token=token)

    assert refused.returncode != 0
    assert "Code: InvalidArgument" in refused.stderr
    assert "client_token" in refused.stderr


def test_an_unknown_method_is_refused(grpcurl, tmp_path):
    # By a contract of our own, because reflection would not let grpcurl send it.
    (tmp_path / "conjure.proto").write_text(
        'syntax = "proto3"; package ramfacade.v1; message E {} service ResourceShareService { rpc Conjure(E) returns (E); }'
    )

    refused = grpcurl.run(f"{SERVICE}/Conjure", flags=("-import-path", str(tmp_path), "-proto", "conjure.proto"))

    assert refused.returncode != 0
    assert "Code: Unimplemented" in refused.stderr


def test_a_method_that_reflection_does_not_have_is_not_sent(grpcurl):
    refused = grpcurl.run(f"{SERVICE}/Conjure")

    assert refused.returncode != 0
    assert "does not include a method named" in refused.stderr


def test_health_is_asked_by_reflection(grpcurl):
    answer = grpcurl.run("grpc.health.v1.Health/Check")

    assert json.loads(answer.stdout) == {"status": "SERVING"}, answer.stderr
