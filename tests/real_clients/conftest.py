"""Starts the real programs for the tests: the built binary, its embedded RAM, and moto.

A tool that is missing fails the test: skipping would hide that nothing was tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import boto3
import grpc
import pytest
from botocore.config import Config
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc
from harness.program import Program, environment

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "ramfacade.v1.ResourceShareService"


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def binary() -> Path:
    """The binary to test: RAM_FACADE_BIN, or the debug build of this checkout."""
    if chosen := os.environ.get("RAM_FACADE_BIN"):
        path = Path(chosen).resolve()
    else:
        command = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]
        metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
        path = Path(metadata["target_directory"]) / "debug" / "ram-facade"
    assert path.is_file(), f"{path} is missing; `make test-clients` builds it"
    return path


@pytest.fixture(scope="session", autouse=True)
def _static_credentials():
    """Gives the clients inside this process the same environment as the children."""
    before = dict(os.environ)
    clean = environment() | {k: v for k, v in before.items() if k == "RAM_FACADE_BIN"}
    os.environ.clear()
    os.environ.update(clean)
    yield
    os.environ.clear()
    os.environ.update(before)


# --- the embedded RAM and moto ----------------------------------------------------------------------------------------


@dataclass
class Sandbox:
    """The embedded RAM, by its control requests."""

    url: str

    def _control(self, method: str, command: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox/{command}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"{}")

    def executions(self, operation: str = "CreateResourceShare") -> int:
        return self._control("GET", "stats")["executions"].get(operation, 0)

    def requests(self, operation: str = "CreateResourceShare") -> int:
        return self._control("GET", "stats")["requests"].get(operation, 0)

    def live_shares(self) -> int:
        return self._control("GET", "stats")["live_shares"]

    def faults(self, *rules: dict) -> None:
        self._control("PUT", "faults", {"rules": list(rules)})

    def reset(self) -> None:
        self._control("POST", "reset")


def aws(service: str, url: str):
    """boto3's client of `service` at `url`."""
    return boto3.client(service, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, proxies={}))


@pytest.fixture
def sandbox(binary: Path, tmp_path: Path):
    """The embedded RAM, served alone."""
    with Program(binary, "sandbox", "--listen", "127.0.0.1:0", cwd=tmp_path) as ram:
        yield Sandbox(ram.wait_for(r"sandbox listening on (http://\S+)"))


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory):
    """moto, which knows nothing of this project. It keeps its state for the session."""
    moto = Path(sys.executable).parent / "moto_server"
    assert moto.is_file(), f"{moto} is missing; scripts/tools.sh python installs it"
    with Program(moto, "-H", "127.0.0.1", "-p", "0", cwd=tmp_path_factory.mktemp("moto")) as server:
        yield server.wait_for(r"Running on (http://127\.0\.0\.1:\d+)")


# --- the facade -------------------------------------------------------------------------------------------------------


@dataclass
class Facade:
    """A running service."""

    address: str
    channel: grpc.Channel
    messages: object
    service: object
    sandbox: Sandbox | None = None

    def create(self, metadata: tuple = (), **fields):
        """Calls Create; answers with the response and all of the answer's metadata."""
        request = self.messages.CreateResourceShareRequest(**fields)
        response, call = self.service.Create.with_call(request, timeout=30, metadata=metadata)
        return response, dict(call.initial_metadata()) | dict(call.trailing_metadata())

    def refused(self, **fields) -> Refusal:
        """Calls Create, which has to fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self.create(**fields)
        return Refusal.read(caught.value)


@dataclass
class Refusal:
    """An error with its typed details, by the name of their type."""

    code: grpc.StatusCode
    message: str
    details: dict[str, object]
    metadata: dict[str, str]

    @classmethod
    def read(cls, error: grpc.RpcError) -> Refusal:
        status = rpc_status.from_call(error)
        assert status, f"no typed details in {error}"
        details = {}
        for packed in status.details:
            name = packed.type_url.rsplit(".", 1)[-1]
            assert name not in details, f"{name} comes twice"
            details[name] = getattr(error_details_pb2, name)()
            assert packed.Unpack(details[name])
        metadata = {k: v for k, v in error.trailing_metadata() if not k.endswith("-bin")}
        return cls(error.code(), status.message, details, metadata)

    @property
    def why(self) -> tuple[str, str]:
        """Domain and reason."""
        info = self.details["ErrorInfo"]
        return info.domain, info.reason

    @property
    def info(self) -> dict[str, str]:
        return dict(self.details["ErrorInfo"].metadata)

    @property
    def fields(self) -> list[str]:
        return [violation.field for violation in self.details["BadRequest"].field_violations]


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """The messages and the client of the contract, compiled as any user would."""
    out = tmp_path_factory.mktemp("stubs")
    well_known = Path(protoc.__file__).parent / "_proto"
    name = "ramfacade/v1/resource_share_service"
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    assert protoc.main([*arguments, f"{name}.proto"]) == 0
    sys.path.insert(0, str(out))
    try:
        module = name.replace("/", ".")
        messages = __import__(f"{module}_pb2", fromlist=["x"])
        services = __import__(f"{module}_pb2_grpc", fromlist=["x"])
    finally:
        sys.path.remove(str(out))
    return messages, services


@pytest.fixture
def serve(binary: Path, stubs, tmp_path: Path):
    """Starts the service with the given flags; stops whatever it started."""
    running: list[tuple[grpc.Channel, Program]] = []
    messages, services = stubs

    def start(*flags: str) -> Facade:
        server = Program(binary, "serve", "--listen", "127.0.0.1:0", *flags, cwd=tmp_path)
        try:
            address = server.wait_for(r"^listening on (127\.0\.0\.1:\d+)$")
            sandbox = None
            if "--sandbox" in flags:
                sandbox = Sandbox(server.wait_for(r"^sandbox listening on (http://\S+)$"))
        except BaseException:
            server.stop()
            raise
        channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)])
        running.append((channel, server))
        return Facade(address, channel, messages, services.ResourceShareServiceStub(channel), sandbox)

    yield start
    for channel, server in running:
        channel.close()
        server.stop()


@pytest.fixture
def facade(serve) -> Facade:
    """The service with its embedded RAM, as `make run` starts it."""
    return serve("--sandbox")
