"""Everything that one language's suite runs against, told to it as a JSON file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path

from . import certificates
from .control import Control
from .facades import Facade
from .program import keep
from .tap import Tap

CLIENTS = Path(__file__).resolve().parents[1]
TOKEN = "a-token-of-the-examples"


@contextlib.contextmanager
def scene():
    """Starts the services; yields the environment in which a suite finds them."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ram-facade-clients-")))
        keep("the bearer token", TOKEN)
        tokens = folder / "tokens"
        tokens.write_text(hashlib.sha256(TOKEN.encode()).hexdigest() + " examples\n")
        tokens.chmod(0o600)
        # One attempt, so that a single fault reaches the client: here its own retries are looked at, not the service's.
        usual = {
            "RAM_FACADE_AUTH_TOKENS_FILE": str(tokens),
            "RAM_FACADE_POLICY_ALLOW_ALL": "true",
            "RAM_FACADE_RETRY_MAX_ATTEMPTS": "1",
            # All calls of a suite are one caller's, and some come by the dozen.
            "RAM_FACADE_LIMITS_PER_SECOND": "1000",
            "RAM_FACADE_LIMITS_BURST": "1000",
            "RAM_FACADE_LIMITS_IN_FLIGHT": "200",
        }

        def start(settings: dict[str, str]) -> Facade:
            facade = Facade(usual | settings)
            stack.callback(facade.stop)
            return facade

        main = start({})
        hurried = start({"RAM_FACADE_DEADLINE_DEFAULT_MS": "400", "RAM_FACADE_DEADLINE_MAX_MS": "400"})
        web = start({"RAM_FACADE_GRPC_WEB_ENABLED": "true"})
        files = certificates.make(folder)
        tls = start({"RAM_FACADE_TLS_CERTIFICATE_FILE": files["certificate"], "RAM_FACADE_TLS_KEY_FILE": files["key"]})
        tap = Tap(main.address)
        stack.callback(tap.close)
        control = Control(tap)
        stack.callback(control.close)
        told = {
            "token": TOKEN,
            "main": {"address": main.address, "sandbox": main.sandbox},
            "hurried": {"address": hurried.address, "sandbox": hurried.sandbox},
            "web": {"address": web.address, "sandbox": web.sandbox},
            "tls": {"address": tls.address, "sandbox": tls.sandbox} | files,
            "tap": tap.address,
            "control": control.url,
            "service_config": (CLIENTS / "retry-service-config.json").read_text(),
            # RAM asks for a pause of a second, which the service passes on as pushback.
            "throttled": {
                "kind": "error",
                "code": "ThrottlingException",
                "http_status": 429,
                "headers": {"x-amz-retry-after": "1000"},
            },
            "codes": json.loads((CLIENTS / "behaviours.json").read_text())["codes"],
        }
        (folder / "scene.json").write_text(json.dumps(told))
        yield {
            "SCENE": str(folder / "scene.json"),
            "FACADE_ADDRESS": main.address,
            "FACADE_TOKEN": TOKEN,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
