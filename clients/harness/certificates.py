"""A private CA with a certificate for 127.0.0.1, and another CA that has signed nothing, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def make(folder: Path) -> dict[str, str]:
    """The files, by their role: `ca_file`, `other_ca_file`, `certificate` and `key`."""
    for name in ("ca", "other-ca"):
        extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl(folder, "req", "-x509", *KEY, *files, "-days", "2", "-subj", f"/CN={name}", *extensions)
    (folder / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
        "basicConstraints=CA:FALSE\n"
        "keyUsage=digitalSignature\n"
        "extendedKeyUsage=serverAuth\n"
    )
    openssl(folder, "req", *KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=ram-facade")
    signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    openssl(folder, "x509", "-req", "-in", "server.csr", *signer, "-extfile", "extensions", "-out", "server.pem")
    (folder / "server.key").chmod(0o600)
    files = {"ca_file": "ca.pem", "other_ca_file": "other-ca.pem", "certificate": "server.pem", "key": "server.key"}
    return {role: str(folder / file) for role, file in files.items()}


def openssl(folder: Path, *arguments: str) -> None:
    run = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {run.stderr}")
