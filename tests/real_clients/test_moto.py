"""The service in front of moto: an implementation of RAM that its authors wrote and not we.

moto ignores client tokens, tags and more; what it refuses, it refuses in its own words. The inputs pass the service's own
rules, so that each refusal here is moto's.
"""

import uuid

import grpc
import pytest

from conftest import aws

# moto's account.
SUBNET = "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-0a1b2c3d4e5f60718"


@pytest.fixture
def facade(serve, moto_url):
    return serve("--insecure-no-auth", "--ram-endpoint", moto_url, "--store", ":memory:")


@pytest.fixture
def organization(moto_url):
    """Without one of its own, moto does not look for others."""
    organizations = aws("organizations", moto_url)
    made = organizations.create_organization(FeatureSet="ALL")["Organization"]
    yield made
    organizations.delete_organization()


def test_a_share_is_created_once(facade, moto_url):
    request = {
        "name": "through moto",
        "resource_arns": [SUBNET],
        "principals": ["444455556666"],
        "client_token": str(uuid.uuid4()),
    }

    first, _ = facade.create(**request)
    second, metadata = facade.create(**request)

    arn = first.resource_share.resource_share_arn
    assert second.resource_share.resource_share_arn == arn
    assert metadata["idempotency-replayed"] == "true"
    assert first.resource_share.owning_account_id == "123456789012"
    # moto makes a share for every request that reaches it, whatever its token.
    shares = aws("ram", moto_url).get_resource_shares(resourceOwner="SELF")["resourceShares"]
    assert [share["resourceShareArn"] for share in shares if share["name"] == "through moto"] == [arn]


def test_an_organization_that_exists_is_a_principal(facade, organization):
    response, _ = facade.create(name="within", principals=[organization["Arn"]])

    assert response.resource_share.resource_share_arn


def test_an_unknown_organization_is_not_found(facade, organization):
    stranger = f"arn:aws:organizations::123456789012:organization/{organization['Id']}x"

    refusal = facade.refused(name="x", principals=["444455556666", stranger])

    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.why == ("ram.amazonaws.com", "UNKNOWN_RESOURCE")
    assert refusal.info["awsErrorCode"] == "UnknownResourceException"
    assert refusal.info["outcome"] == "not_executed"
    assert "ResourceInfo" in refusal.details


def test_a_resource_that_cannot_be_shared_is_a_malformed_arn(facade):
    function = "arn:aws:lambda:us-east-1:123456789012:function:thing"

    refusal = facade.refused(name="x", resource_arns=[function])

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.why == ("ram.amazonaws.com", "MALFORMED_ARN")
    assert refusal.info["awsErrorCode"] == "MalformedArnException"
    # moto's sentence does not quote the ARN, so no field is blamed.
    assert refusal.fields == [""]


def test_the_arn_that_is_quoted_is_the_field_that_is_blamed(facade):
    topic = "arn:aws:sns:us-east-1:123456789012:topic"

    refusal = facade.refused(name="x", resource_arns=[SUBNET, topic])

    assert refusal.why == ("ram.amazonaws.com", "MALFORMED_ARN")
    assert refusal.fields == ["resource_arns[1]"]


def test_a_principal_that_moto_does_not_know_is_an_invalid_parameter(facade):
    # The name of a real service, with one label more than moto expects.
    refusal = facade.refused(name="x", principals=["delivery.logs.amazonaws.com"])

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.why == ("ram.amazonaws.com", "INVALID_PARAMETER")
    assert refusal.info["awsErrorCode"] == "InvalidParameterException"
    assert refusal.fields == ["principals[0]"]


def test_resource_types_are_listed(facade):
    answer = facade.service.ListResourceTypes(facade.messages.ListResourceTypesRequest(), timeout=30)

    assert "ec2:Subnet" in {kind.resource_type for kind in answer.resource_types}
