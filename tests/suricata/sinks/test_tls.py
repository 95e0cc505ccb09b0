"""TLS as the settings want it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from suricata.sinks.settings import Tls
from suricata.sinks.tls import client_context
from tests.support.http_siem import papers


def test_the_other_side_is_verified_unless_it_is_said(tmp_path: Path) -> None:
    papers(tmp_path)
    context = client_context(Tls(ca=tmp_path / "ca.pem", cert=tmp_path / "client.pem"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    # Only that authority is trusted.
    assert len(context.get_ca_certs()) == 1
    trusting = client_context(Tls(verify=False))
    assert trusting.verify_mode is ssl.CERT_NONE
    assert not trusting.check_hostname


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    papers(tmp_path)
    (tmp_path / "broken.pem").write_text("no certificate")
    for name, words in (("none.pem", "No such file"), ("broken.pem", "NO_CERTIFICATE")):
        with pytest.raises(ValueError, match=rf"ca: {tmp_path}/{name} cannot be used \({words}"):
            client_context(Tls(ca=tmp_path / name))
    with pytest.raises(ValueError, match=rf"cert: {tmp_path}/ca.pem cannot be used"):
        client_context(Tls(cert=tmp_path / "ca.pem"))
    with pytest.raises(ValueError, match=r"cert: .*/client.pem and .*/server.pem cannot be used"):
        client_context(Tls(cert=tmp_path / "client.pem", key=tmp_path / "server.pem"))


def test_a_key_with_a_passphrase_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    papers(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a passphrase"),
    )
    (tmp_path / "key.pem").write_bytes(key)
    with pytest.raises(ValueError, match="without a passphrase"):
        client_context(Tls(cert=tmp_path / "client.pem", key=tmp_path / "key.pem"))
