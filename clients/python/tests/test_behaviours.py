"""What every client must see of the service; clients/behaviours.json lists the names, clients/run.py starts the scene."""

import json
import os
import sys
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from ramfacade.v1 import resource_share_service_pb2 as messages

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import example
from example import Refusal, connect, next_step

SCENE = json.loads(Path(os.environ["SCENE"]).read_text())
TOKEN = SCENE["token"]


def http(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


class Sandbox:
    """The embedded RAM behind a service."""

    def __init__(self, url):
        self.url = url
        http("POST", f"{url}/_sandbox/reset")

    def fault(self, fault, times=None):
        rule = {"operation": "CreateResourceShare", "fault": fault} | ({"times": times} if times else {})
        http("PUT", f"{self.url}/_sandbox/faults", {"rules": [rule]})

    def count(self, what):
        counts = http("GET", f"{self.url}/_sandbox/stats")[what]
        return counts if isinstance(counts, int) else counts.get("CreateResourceShare", 0)

    def wait_for_requests(self, least):
        end = time.monotonic() + 20
        while self.count("requests") < least:
            assert time.monotonic() < end, f"fewer than {least} requests reached RAM"
            time.sleep(0.02)


@pytest.fixture
def sandbox():
    return Sandbox(SCENE["main"]["sandbox"])


@pytest.fixture
def channel():
    with connect(SCENE["main"]["address"]) as channel:
        yield channel


def share(**fields):
    return messages.CreateResourceShareRequest(**{"name": "demo", "client_token": str(uuid.uuid4())} | fields)


def create(channel, request, token=TOKEN, seconds=30):
    return example.create(channel, token, request, seconds)


def refused(channel, request, **how):
    with pytest.raises(grpc.RpcError) as caught:
        create(channel, request, **how)
    return Refusal.of(caught.value)


def test_create(channel, sandbox):
    answer = create(channel, share(tags=[{"key": "team", "value": "network"}], allow_external_principals=False))

    made = answer.resource_share
    assert made.resource_share_arn.startswith("arn:aws:ram:us-east-1:111122223333:resource-share/")
    assert made.status == messages.RESOURCE_SHARE_STATUS_ACTIVE
    assert made.HasField("allow_external_principals") and not made.allow_external_principals
    assert [(tag.key, tag.value) for tag in made.tags] == [("team", "network")]
    assert sandbox.count("executions") == 1


def test_replay(channel, sandbox):
    request = share()
    first = create(channel, request)

    again = create(channel, request)

    assert again.resource_share.resource_share_arn == first.resource_share.resource_share_arn
    assert sandbox.count("executions") == 1


def test_mismatch(channel, sandbox):
    request = share()
    create(channel, request)
    request.name = "other"

    refusal = refused(channel, request)

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "IDEMPOTENT_PARAMETER_MISMATCH"
    assert list(refusal.fields) == ["client_token"]
    assert next_step(refusal) == "fix your request"
    assert sandbox.count("executions") == 1


@pytest.mark.parametrize("row", SCENE["codes"], ids=[row["code"] for row in SCENE["codes"]])
def test_every_code_with_typed_details(row):
    server = SCENE[row.get("server", "main")]
    sandbox = Sandbox(server["sandbox"])
    if "fault" in row:
        sandbox.fault(row["fault"])
    request = share(name=row.get("name", "demo"))

    # The client's own retries would only repeat what is looked at here.
    with connect(server["address"], options=[("grpc.enable_retries", 0)]) as channel:
        if "callers" in row:
            with ThreadPoolExecutor(row["callers"]) as pool:
                refusals = [r for r in pool.map(lambda _: outcome(channel, request), range(row["callers"])) if r]
            assert refusals, "nobody was refused"
            refusal = refusals[0]
        else:
            refusal = refused(channel, request, token=row.get("token", TOKEN))

    assert refusal.code.name == row["code"], refusal
    info = refusal.details["ErrorInfo"]
    assert (info.domain, info.reason) == (row["domain"], row["reason"])
    assert sorted(refusal.details) == sorted(row["details"])
    assert refusal.details["RequestInfo"].request_id
    assert next_step(refusal) == row["next"]
    if "BadRequest" in row["details"]:
        assert list(refusal.fields) == row["fields"]
    if "RetryInfo" in row["details"]:
        assert refusal.retry_after > 0


def outcome(channel, request):
    try:
        create(channel, request)
    except grpc.RpcError as error:
        return Refusal.of(error)
    return None


def test_deadline_exceeded(channel, sandbox):
    sandbox.fault({"kind": "delay", "ms": 3000}, times=1)
    request = share()
    began = time.monotonic()

    refusal = refused(channel, request, seconds=0.3)

    assert refusal.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 2
    assert next_step(refusal) == "try again"
    # The execution went on: the same token gets its outcome.
    assert create(channel, request).resource_share.resource_share_arn
    assert sandbox.count("executions") == 1


def test_cancellation(channel, sandbox):
    sandbox.fault({"kind": "delay", "ms": 1000}, times=1)
    request = share()
    call = example.services.ResourceShareServiceStub(channel).Create.future(
        request, timeout=30, metadata=[("authorization", f"Bearer {TOKEN}")]
    )
    sandbox.wait_for_requests(1)

    call.cancel()

    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    assert call.code() == grpc.StatusCode.CANCELLED
    assert create(channel, request).resource_share.resource_share_arn
    assert sandbox.count("executions") == 1


def test_unavailable_is_retried_by_the_client(channel, sandbox):
    sandbox.fault({"kind": "drop_after_execution"}, times=1)

    answer = create(channel, share())

    assert answer.resource_share.resource_share_arn
    assert sandbox.count("requests") == 2
    assert sandbox.count("executions") == 1
    assert sandbox.count("live_shares") == 1


def test_pushback_is_obeyed(sandbox):
    config = json.loads(SCENE["service_config"])
    policy = config["methodConfig"][0]["retryPolicy"]
    policy["retryableStatusCodes"].append("RESOURCE_EXHAUSTED")
    # By itself the client would come back at once.
    policy["initialBackoff"] = policy["maxBackoff"] = "0.001s"
    sandbox.fault(SCENE["throttled"], times=1)
    began = time.monotonic()

    with grpc.insecure_channel(SCENE["main"]["address"], [("grpc.service_config", json.dumps(config))]) as channel:
        answer = create(channel, share())

    assert answer.resource_share.resource_share_arn
    assert time.monotonic() - began >= 1
    assert sandbox.count("requests") == 2


def test_unknown_enum_value_is_kept(channel, sandbox):
    sandbox.fault({"kind": "patch", "pointer": "/resourceShare/status", "value": "FROBBED"})

    made = create(channel, share()).resource_share

    assert made.status == messages.RESOURCE_SHARE_STATUS_UNSPECIFIED
    assert made.unrecognized_status == "FROBBED"
    # A newer service may name a state that this client does not know: the number survives.
    newer = messages.ResourceShare.FromString(b"\x28\x63")
    assert newer.status == 99
    assert newer.SerializeToString() == b"\x28\x63"


def test_metadata_of_64_kib_is_refused_readably(channel, sandbox):
    refusal = refused(channel, share(), token="x" * 65_536)

    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "METADATA_TOO_LARGE"
    assert next_step(refusal) == "fix your request"
    assert create(channel, share()).resource_share.resource_share_arn
    assert sandbox.count("requests") == 1


def test_tls_with_a_private_ca():
    sandbox = Sandbox(SCENE["tls"]["sandbox"])
    with connect(SCENE["tls"]["address"], SCENE["tls"]["ca_file"]) as channel:
        assert create(channel, share()).resource_share.resource_share_arn
    with connect(SCENE["tls"]["address"], SCENE["tls"]["other_ca_file"]) as stranger:
        refusal = refused(stranger, share(), seconds=5)
    assert refusal.code == grpc.StatusCode.UNAVAILABLE
    assert sandbox.count("executions") == 1


def test_gzip(sandbox):
    before = http("GET", f"{SCENE['control']}/tap")
    with connect(SCENE["tap"], options=[("grpc.default_compression_algorithm", grpc.Compression.Gzip)]) as channel:
        answer = create(channel, share(tags=[{"key": f"key-{i}", "value": "v" * 200} for i in range(40)]))

    assert len(answer.resource_share.tags) == 40
    assert http("GET", f"{SCENE['control']}/tap")["compressed"] == before["compressed"] + 1


def test_keepalive():
    options = [
        ("grpc.keepalive_time_ms", 1_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    before = http("GET", f"{SCENE['control']}/tap")
    with connect(SCENE["tap"], options=options) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        end = time.monotonic() + 20
        while http("GET", f"{SCENE['control']}/tap")["pongs"] < before["pongs"] + 3:
            assert time.monotonic() < end, "no pings"
            time.sleep(0.1)
        health.Check(health_pb2.HealthCheckRequest(), timeout=10)

    after = http("GET", f"{SCENE['control']}/tap")
    # All on one connection, which the service did not end for being pinged.
    assert after["connections"] == before["connections"] + 1
    assert after["goaways"] == before["goaways"]


def test_drain():
    started = http("POST", f"{SCENE['control']}/facade")
    sandbox = Sandbox(started["sandbox"])
    sandbox.fault({"kind": "delay", "ms": 1500})

    with connect(started["address"], options=[("grpc.enable_retries", 0)]) as channel:
        with ThreadPoolExecutor(5) as pool:
            calls = [pool.submit(create, channel, share()) for _ in range(5)]
            sandbox.wait_for_requests(5)
            http("POST", f"{SCENE['control']}/facade/{started['id']}/terminate")
            arns = {call.result().resource_share.resource_share_arn for call in calls}
        late = refused(channel, share(), seconds=10)

    assert len(arns) == 5
    assert late.code == grpc.StatusCode.UNAVAILABLE
    assert next_step(late) == "try again"
    assert http("GET", f"{SCENE['control']}/facade/{started['id']}/exit") == {"code": 0}


@pytest.mark.parametrize("service", ["", "ramfacade.v1.ResourceShareService"])
def test_health(channel, service):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


class Bearer(grpc.StreamStreamClientInterceptor):
    """Carries the token, which reflection needs and health does not."""

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(details._replace(metadata=[("authorization", f"Bearer {TOKEN}")]), requests)


def test_reflection(channel):
    served = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, Bearer()))

    assert "ramfacade.v1.ResourceShareService" in served.get_services()
    file = served.FindFileContainingSymbol("ramfacade.v1.ResourceShareService")
    assert [method.name for method in file.service[0].method][:1] == ["Create"]
