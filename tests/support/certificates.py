"""A self-signed certificate, for TLS servers on 127.0.0.1."""

import subprocess
from pathlib import Path


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Create a key and a certificate in the folder; returns (key, certificate), the paths of the PEM files."""
    key, certificate = folder / "key.pem", folder / "ca.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    options = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *options], check=True, capture_output=True, timeout=60)
    return key, certificate
