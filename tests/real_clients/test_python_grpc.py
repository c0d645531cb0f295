"""Google's own gRPC client against the service and its embedded RAM."""

import uuid

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from conftest import SERVICE, Refusal

SUBNET = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-0a1b2c3d4e5f60718"


def test_a_share_is_created_and_described(facade):
    token = str(uuid.uuid4())

    response, metadata = facade.create(
        name="network-prod subnets",
        resource_arns=[SUBNET],
        principals=["444455556666"],
        tags=[{"key": "team", "value": "network"}],
        allow_external_principals=False,
        client_token=token,
    )

    share = response.resource_share
    assert share.resource_share_arn.startswith("arn:aws:ram:us-east-1:111122223333:resource-share/")
    assert (share.name, share.owning_account_id) == ("network-prod subnets", "111122223333")
    assert share.HasField("allow_external_principals") and not share.allow_external_principals
    assert [(tag.key, tag.value) for tag in share.tags] == [("team", "network")]
    assert response.client_token == token
    assert "idempotency-replayed" not in metadata


def test_the_same_token_again_gives_the_same_share_and_says_so(facade):
    token = str(uuid.uuid4())
    first, _ = facade.create(name="once", client_token=token)

    second, metadata = facade.create(name="once", client_token=token)

    assert second.resource_share.resource_share_arn == first.resource_share.resource_share_arn
    assert metadata["idempotency-replayed"] == "true"
    assert facade.sandbox.executions() == 1
    assert facade.sandbox.live_shares() == 1


def test_another_request_under_the_same_token_is_refused(facade):
    token = str(uuid.uuid4())
    facade.create(name="one", client_token=token)

    refusal = facade.refused(name="other", client_token=token)

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.why == ("ram-facade", "IDEMPOTENT_PARAMETER_MISMATCH")
    assert refusal.fields == ["client_token"]
    assert refusal.info["outcome"] == "not_executed"
    assert facade.sandbox.live_shares() == 1


def test_without_a_token_one_is_made_and_returned(facade):
    first, _ = facade.create(name="untold")

    second, metadata = facade.create(name="untold", client_token=first.client_token)

    assert first.client_token
    assert second.client_token == first.client_token
    # Whether or not the answer comes from a record: it is the same share.
    assert second.resource_share.resource_share_arn == first.resource_share.resource_share_arn
    assert facade.sandbox.live_shares() == 1


def test_every_violation_is_named_at_once_and_ram_is_not_asked(facade):
    refusal = facade.refused(name="", resource_arns=["nonsense"], principals=["o-a1b2c3d4e5"])

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.why == ("ram-facade", "INVALID_REQUEST")
    assert set(refusal.fields) == {"name", "resource_arns[0]", "principals[0]"}
    assert facade.sandbox.requests() == 0


def test_a_refusal_of_ram_says_who_refused_and_what_came_of_it(facade):
    stranger = "arn:aws:organizations::999988887777:organization/o-nobodysorg"

    refusal = facade.refused(name="for strangers", principals=[stranger], client_token=str(uuid.uuid4()))

    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.why == ("ram.amazonaws.com", "UNKNOWN_RESOURCE")
    assert refusal.info["awsErrorCode"] == "UnknownResourceException"
    assert refusal.info["operation"] == "CreateResourceShare"
    assert refusal.info["attempts"] == "1"
    assert refusal.info["outcome"] == "not_executed"
    assert refusal.info["awsRequestId"]
    assert refusal.details["RequestInfo"].request_id
    assert "ResourceInfo" in refusal.details


def test_throttling_says_when_to_come_back(facade):
    facade.sandbox.faults(
        {
            "operation": "CreateResourceShare",
            "fault": {"kind": "error", "code": "ThrottlingException", "http_status": 429, "message": "Rate exceeded"},
        }
    )

    refusal = facade.refused(name="busy", client_token=str(uuid.uuid4()))

    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.why == ("ram.amazonaws.com", "THROTTLING")
    assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
    assert int(refusal.metadata["grpc-retry-pushback-ms"]) > 0
    assert facade.sandbox.executions() == 0


def test_an_answer_lost_after_the_work_still_gives_the_one_share(facade):
    facade.sandbox.faults(
        {"operation": "CreateResourceShare", "times": 1, "fault": {"kind": "drop_after_execution"}}
    )

    response, _ = facade.create(name="lost and found", client_token=str(uuid.uuid4()))

    assert response.resource_share.resource_share_arn
    assert facade.sandbox.live_shares() == 1


def test_validate_only_asks_nobody_and_makes_nothing(facade):
    response, _ = facade.create(name="rehearsal", validate_only=True)

    assert not response.HasField("resource_share")
    assert facade.sandbox.requests() == 0


def test_the_callers_request_id_comes_back(facade):
    _, metadata = facade.create(name="traced", metadata=(("x-request-id", "caller-made-17"),))

    assert metadata["x-request-id"] == "caller-made-17"


def test_resource_types_are_listed_page_by_page(facade):
    request = facade.messages.ListResourceTypesRequest(max_results=5)
    seen = []
    for _ in range(100):
        page = facade.service.ListResourceTypes(request, timeout=30)
        assert len(page.resource_types) <= 5
        seen += [kind.resource_type for kind in page.resource_types]
        request.next_token = page.next_token
        if not page.next_token:
            break

    assert "ec2:Subnet" in seen
    assert len(seen) == len(set(seen)) > 5


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_is_told_for_server_and_service(facade, name):
    health = health_pb2_grpc.HealthStub(facade.channel)

    answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(facade):
    health = health_pb2_grpc.HealthStub(facade.channel)

    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="nobody.v1.Nothing"), timeout=10)

    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_unknown_method_is_refused_with_a_reason(facade):
    call = facade.channel.unary_unary(
        f"/{SERVICE}/Conjure", request_serializer=lambda _: b"", response_deserializer=lambda b: b
    )

    with pytest.raises(grpc.RpcError) as caught:
        call(None, timeout=10)

    refusal = Refusal.read(caught.value)
    assert refusal.code == grpc.StatusCode.UNIMPLEMENTED
    assert refusal.why == ("ram-facade", "METHOD_UNKNOWN")
