"""Certificates for tests, made with the openssl command in milliseconds."""

import shutil
import subprocess

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def self_signed(folder, name):
    """Certificate and key of a server, which is its own authority."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-days", 2, "-subj", f"/CN={name}", "-addext", NAMES)
    openssl("req", "-x509", *curve, *subject, "-keyout", key, "-out", certificate)
    return certificate, key


def signed_by(folder, name, authority):
    """Certificate and key of a client, signed by an authority made with ``self_signed``."""
    certificate, key, request = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.csr"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-new", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    by = ("-CA", authority[0], "-CAkey", authority[1], "-CAcreateserial")
    openssl("x509", "-req", "-in", request, *by, "-days", 2, "-out", certificate)
    return certificate, key
