"""Signed statements: opened by their key alone, and only while no byte was changed."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from auditor.errors import SpecError
from auditor.report.dsse import opened, sign
from auditor.report.formats import format_named
from tests import finished
from tests.conftest import DEMO

KIND = "application/vnd.in-toto+json"
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


def pair(kind):
    """A private key with its two files."""
    private = KEYS[kind]()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, secret, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def changed(envelope, **fields):
    return json.dumps(json.loads(envelope) | fields).encode()


@pytest.mark.parametrize("kind", KEYS)
def test_what_a_key_signed_its_public_half_opens_and_no_other(kind):
    _, secret, public = pair(kind)
    envelope = sign(b"a statement", KIND, secret)
    assert opened(envelope, KIND, public) == b"a statement"
    for other in KEYS:
        with pytest.raises(SpecError, match="not this key's"):
            opened(envelope, KIND, pair(other)[2])


def test_the_signature_is_over_what_the_protocol_says():
    """The example of the protocol's own text; any tool that follows it can check the signature."""
    private, secret, _ = pair("ed25519")
    envelope = json.loads(sign(b"hello world", "http://example.com/HelloWorld", secret))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    private.public_key().verify(signature, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world")
    assert base64.b64decode(envelope["payload"]) == b"hello world"


def test_no_byte_can_be_changed():
    _, secret, public = pair("ed25519")
    envelope = sign(b"PASSED", KIND, secret)
    for place in range(6):
        payload = bytearray(b"PASSED")
        payload[place] ^= 1
        with pytest.raises(SpecError, match="changed since"):
            opened(changed(envelope, payload=base64.b64encode(payload).decode()), KIND, public)
    with pytest.raises(SpecError, match="holds 'text/plain'"):
        opened(changed(envelope, payloadType="text/plain"), KIND, public)
    with pytest.raises(SpecError, match="not this key's"):
        opened(changed(envelope, signatures=[]), KIND, public)


@pytest.mark.parametrize("envelope", [b"", b"[]", b"{}", b'{"payloadType": "x", "payload": "&", "signatures": []}'])
def test_what_is_no_envelope_is_said_to_be_none(envelope):
    with pytest.raises(SpecError, match="no DSSE envelope"):
        opened(envelope, KIND, pair("ed25519")[2])


def test_keys_of_other_kinds_are_refused_with_a_sentence():
    private = rsa.generate_private_key(65537, 2048)
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(SpecError, match="give one of Ed25519"):
        sign(b"", KIND, secret)
    with pytest.raises(SpecError, match="no private key"):
        sign(b"", KIND, b"a word")
    with pytest.raises(SpecError, match="no public key"):
        opened(b"", KIND, secret)


def test_the_commands_sign_a_report_and_verify_it(ran, command, tmp_path):
    _, secret, public = pair("P-256")
    (tmp_path / "key.pem").write_bytes(secret)
    (tmp_path / "public.pem").write_bytes(public)
    report, envelope = ran.folder / "report.json", tmp_path / "report.dsse.json"
    assert command("export", "in-toto", report, "--key", tmp_path / "key.pem", "--out", envelope).code == 0
    verify = ("verify", envelope, "--key", tmp_path / "public.pem", "--model")
    answer = command(*verify, DEMO / "digits.onnx")
    assert (answer.code, answer.out.encode()) == (0, format_named("in-toto").write(ran.report))
    other = command(*verify, finished.changed_model(tmp_path / "other.onnx"))
    assert (other.code, "about another model" in other.err, other.out) == (64, True, "")
    assert command("verify", envelope, "--key", tmp_path / "missing.pem").code == 64
    assert "--key signs" in command("export", "junit", report, "--key", tmp_path / "key.pem").err
