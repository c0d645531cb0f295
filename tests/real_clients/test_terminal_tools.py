"""buf curl, ghz and k6 against the service, as people use them: by reflection or with the contract's files."""

import base64
import json
import re
import subprocess
import uuid

import pytest
from google.rpc import error_details_pb2

from conftest import ROOT, SERVICE

BUF = ROOT / ".tools" / "npm" / "node_modules" / ".bin" / "buf"
GHZ = ROOT / ".tools" / "bin" / "ghz"
K6 = ROOT / ".tools" / "bin" / "k6"


def run(*command, cwd=None):
    assert command[0].is_file(), f"{command[0]} is missing; scripts/tools.sh buf ghz k6 installs it"
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_buf_curl_makes_a_share_and_shows_a_refusals_details(facade):
    token = str(uuid.uuid4())

    def create(**fields):
        url = f"http://{facade.address}/{SERVICE}/Create"
        flags = ["--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(fields)]
        return run(BUF, "curl", *flags, url)

    made = create(name="demo", clientToken=token)
    refused = create(name="other", clientToken=token)

    assert json.loads(made.stdout)["resourceShare"]["resourceShareArn"].startswith("arn:aws:ram:"), made.stderr
    assert refused.returncode != 0
    error = json.loads(refused.stderr)
    assert error["code"] == "invalid_argument"
    # As base64 without padding: it knows the types but does not show what they hold.
    details = {detail["type"]: base64.b64decode(detail["value"] + "==") for detail in error["details"]}
    assert "google.rpc.BadRequest" in details
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert info.reason == "IDEMPOTENT_PARAMETER_MISMATCH"
    assert facade.sandbox.executions() == 1


def test_ghz_sends_one_token_a_hundred_times_and_one_share_is_made(facade):
    data = json.dumps({"name": "load", "client_token": str(uuid.uuid4())})

    report = run(
        GHZ, "--insecure", "--call", f"{SERVICE}.Create", "-d", data, "-n", "100", "-c", "10", "-O", "json", facade.address
    )

    assert json.loads(report.stdout)["statusCodeDistribution"] == {"OK": 100}, report.stderr
    assert facade.sandbox.executions() == 1


@pytest.mark.k6
def test_k6_runs_a_script_with_the_contracts_files(facade, tmp_path):
    script = tmp_path / "script.js"
    script.write_text(
        f"""
        import grpc from "k6/net/grpc";
        import {{ check }} from "k6";

        const client = new grpc.Client();
        client.load(["{ROOT / "proto"}"], "ramfacade/v1/resource_share_service.proto");

        export const options = {{ vus: 2, iterations: 4, thresholds: {{ checks: ["rate==1"] }} }};

        export default () => {{
          client.connect("{facade.address}", {{ plaintext: true }});
          const answer = client.invoke("{SERVICE}/Create", {{ name: "load", client_token: `${{__VU}}-${{__ITER}}` }});
          check(answer, {{ made: (a) => a.status === grpc.StatusOK && a.message.resourceShare.resourceShareArn !== "" }});
          client.close();
        }};
        """
    )

    report = run(K6, "run", "--no-usage-report", "--address", "127.0.0.1:0", script, cwd=tmp_path)

    assert report.returncode == 0, report.stdout + report.stderr
    assert re.search(r"4 out of 4", report.stdout), report.stdout
    assert facade.sandbox.executions() == 4
