"""AWS's own client against the embedded RAM: it is to be taken for RAM."""

import time

import pytest
from botocore.exceptions import ClientError

from conftest import aws

SUBNET = "arn:aws:ec2:us-east-1:111122223333:subnet/subnet-0a1b2c3d4e5f60718"


@pytest.fixture
def ram(sandbox):
    return aws("ram", sandbox.url)


def test_the_same_token_twice_makes_one_share(sandbox, ram):
    request = {"name": "from boto3", "principals": ["444455556666"], "clientToken": "boto3-token-1"}

    first = ram.create_resource_share(**request)
    second = ram.create_resource_share(**request)

    assert first["resourceShare"]["resourceShareArn"] == second["resourceShare"]["resourceShareArn"]
    assert first["clientToken"] == second["clientToken"] == "boto3-token-1"
    assert sandbox.executions() == 1
    assert sandbox.live_shares() == 1


def test_the_same_token_with_another_name_is_refused(ram):
    ram.create_resource_share(name="one", clientToken="boto3-token-2")

    with pytest.raises(ram.exceptions.IdempotentParameterMismatchException) as caught:
        ram.create_resource_share(name="other", clientToken="boto3-token-2")

    answer = caught.value.response["ResponseMetadata"]
    assert answer["HTTPStatusCode"] == 400
    assert answer["RequestId"]


def test_a_share_is_found_by_its_arn_and_by_its_tag(ram):
    made = ram.create_resource_share(name="tagged", tags=[{"key": "team", "value": "network"}])["resourceShare"]
    ram.create_resource_share(name="untagged")

    by_arn = ram.get_resource_shares(resourceOwner="SELF", resourceShareArns=[made["resourceShareArn"]])
    by_tag = ram.get_resource_shares(
        resourceOwner="SELF", tagFilters=[{"tagKey": "team", "tagValues": ["network"]}]
    )

    for answer in (by_arn, by_tag):
        [share] = answer["resourceShares"]
        assert (share["name"], share["status"]) == ("tagged", "ACTIVE")
        assert share["tags"] == [{"key": "team", "value": "network"}]
        assert share["creationTime"]


def test_associations_settle(ram):
    arn = ram.create_resource_share(name="settling", resourceArns=[SUBNET], principals=["444455556666"])[
        "resourceShare"
    ]["resourceShareArn"]

    for kind, entity in (("RESOURCE", SUBNET), ("PRINCIPAL", "444455556666")):
        seen = []
        end = time.monotonic() + 20
        while "ASSOCIATED" not in seen and time.monotonic() < end:
            answer = ram.get_resource_share_associations(associationType=kind, resourceShareArns=[arn])
            [association] = answer["resourceShareAssociations"]
            assert association["associatedEntity"] == entity
            seen.append(association["status"])
            time.sleep(0.05)
        assert seen[-1] == "ASSOCIATED" and set(seen) <= {"ASSOCIATING", "ASSOCIATED"}


def test_a_deleted_share_is_live_no_more(sandbox, ram):
    arn = ram.create_resource_share(name="short-lived")["resourceShare"]["resourceShareArn"]

    assert ram.delete_resource_share(resourceShareArn=arn)["returnValue"] is True

    assert sandbox.live_shares() == 0
    shares = ram.get_resource_shares(resourceOwner="SELF", resourceShareArns=[arn])["resourceShares"]
    assert [share["status"] for share in shares] in ([], ["DELETING"], ["DELETED"])


def test_errors_are_the_modelled_exceptions(ram):
    with pytest.raises(ram.exceptions.UnknownResourceException):
        ram.delete_resource_share(
            resourceShareArn="arn:aws:ram:us-east-1:111122223333:resource-share/00000000-0000-0000-0000-000000000000"
        )
    with pytest.raises(ram.exceptions.MalformedArnException):
        ram.create_resource_share(name="x", resourceArns=["no arn"])
    with pytest.raises(ram.exceptions.InvalidParameterException):
        ram.create_resource_share(name="x", principals=["o-a1b2c3d4e5"])


def test_a_planned_fault_reaches_the_client(sandbox, ram):
    sandbox.faults({"fault": {"kind": "error", "code": "ServerInternalException", "http_status": 500}})

    with pytest.raises(ClientError) as caught:
        ram.create_resource_share(name="unlucky")

    assert caught.value.response["Error"]["Code"] == "ServerInternalException"
    assert sandbox.live_shares() == 0


def test_the_account_is_told(sandbox):
    identity = aws("sts", sandbox.url).get_caller_identity()

    assert identity["Account"] == "111122223333"
    assert identity["Arn"].startswith("arn:aws:")
