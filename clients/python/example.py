"""Creates an empty resource share, and says what to do when that fails."""

import os
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ramfacade.v1 import resource_share_service_pb2 as messages
from ramfacade.v1 import resource_share_service_pb2_grpc as services

# [connect]
SERVICE_CONFIG = Path(__file__).resolve().parents[1] / "retry-service-config.json"


def connect(address, ca_file=None, options=()):
    """A channel that retries by the recommended policy: plaintext, or TLS with a private CA."""
    options = [("grpc.service_config", SERVICE_CONFIG.read_text()), *options]
    if ca_file is None:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(Path(ca_file).read_bytes())
    return grpc.secure_channel(address, credentials, options)
# [/connect]


# [create]
def create(channel, token, request, seconds=30):
    """Creates the share. The client token makes it safe to send the same request again."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    request.client_token = request.client_token or str(uuid.uuid4())
    service = services.ResourceShareServiceStub(channel)
    return service.Create(request, timeout=seconds, metadata=metadata)
# [/create]


# [refusal]
@dataclass
class Refusal:
    """A failed call, with the typed details that a program acts on."""

    code: grpc.StatusCode
    message: str
    details: dict = field(default_factory=dict)

    @classmethod
    def of(cls, error):
        refusal = cls(error.code(), error.details())
        status = rpc_status.from_call(error)
        for packed in status.details if status else []:
            name = packed.TypeName().removeprefix("google.rpc.")
            detail = getattr(error_details_pb2, name)()
            packed.Unpack(detail)
            refusal.details[name] = detail
        return refusal

    @property
    def reason(self):
        return self.details["ErrorInfo"].reason if "ErrorInfo" in self.details else ""

    @property
    def fields(self):
        bad = self.details.get("BadRequest")
        return {v.field: v.description for v in bad.field_violations} if bad else {}

    @property
    def retry_after(self):
        """Seconds, or None when the service does not invite another try."""
        retry = self.details.get("RetryInfo")
        return retry.retry_delay.ToTimedelta().total_seconds() if retry else None
# [/refusal]


# [next]
def next_step(refusal):
    """Who has to do something: nobody yet, you, or whoever runs the service."""
    code = grpc.StatusCode
    if refusal.retry_after is not None:
        return "try again"  # the same request, with the same client token, after that time
    if refusal.code in (code.UNAVAILABLE, code.DEADLINE_EXCEEDED, code.CANCELLED, code.ABORTED):
        return "try again"
    if refusal.code == code.RESOURCE_EXHAUSTED and "QuotaFailure" not in refusal.details:
        return "fix your request"  # it is too large
    if refusal.code in (code.INVALID_ARGUMENT, code.NOT_FOUND, code.ALREADY_EXISTS, code.FAILED_PRECONDITION):
        return "fix your request"
    return "ask your administrator"
# [/next]


def main():
    address = os.environ.get("FACADE_ADDRESS", "127.0.0.1:50051")
    with connect(address, os.environ.get("FACADE_CA_FILE")) as channel:
        request = messages.CreateResourceShareRequest(name="demo", allow_external_principals=False)
        try:
            answer = create(channel, os.environ.get("FACADE_TOKEN"), request)
        except grpc.RpcError as error:
            refusal = Refusal.of(error)
            print(f"{refusal.code.name} {refusal.reason}: {refusal.message}: {next_step(refusal)}", file=sys.stderr)
            for name, rule in refusal.fields.items():
                print(f"  {name} {rule}", file=sys.stderr)
            return 1
    print(answer.resource_share.resource_share_arn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
