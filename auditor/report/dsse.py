"""Signed statements: DSSE envelopes (Dead Simple Signing Envelope, protocol 1.0.2), as cosign and in-toto's tools read them.

The signature covers the payload's type and bytes. Keys are PEM files: Ed25519, or ECDSA on P-256, P-384 or P-521 with the hash
that goes with the curve.
"""

import base64
import binascii
import hashlib
import json
from typing import Any

from auditor.errors import SpecError

_KINDS = "Ed25519, or ECDSA on P-256, P-384 or P-521"


def sign(payload: bytes, payload_type: str, key: bytes) -> bytes:
    """The envelope of a payload, JSON. key: a private key, PEM. SpecError where it is none of these kinds."""
    private = _private(key)
    public = private.public_key()
    message = _encoded(payload, payload_type)
    signature = private.sign(message) if _is_ed25519(public) else private.sign(message, _ecdsa(public))
    envelope = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": _key_id(public), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, indent=2).encode() + b"\n"


def opened(envelope: bytes, payload_type: str, key: bytes) -> bytes:
    """The payload of an envelope. key: a public key, PEM. SpecError where it is not of this type, or no signature in it
    is this key's over these very bytes."""
    from cryptography.exceptions import InvalidSignature

    public = _public(key)
    said, payload, signatures = _read(envelope)
    if said != payload_type:
        raise SpecError(f"the envelope holds {said!r}, not {payload_type}")
    message = _encoded(payload, payload_type)
    for signature in signatures:
        try:
            if _is_ed25519(public):
                public.verify(signature, message)
            else:
                public.verify(signature, message, _ecdsa(public))
        except InvalidSignature:
            continue
        return payload
    raise SpecError("the signature is not this key's, or what it signed was changed since")


def _encoded(payload: bytes, payload_type: str) -> bytes:
    """What is signed: the pre-authentication encoding of DSSE."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _read(envelope: bytes) -> tuple[str, bytes, list[bytes]]:
    try:
        fields = json.loads(envelope)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in fields["signatures"]]
        return str(fields["payloadType"]), base64.b64decode(fields["payload"], validate=True), signatures
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise SpecError(f"this is no DSSE envelope: {type(error).__name__}: {error}") from None


def _private(key: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(key, password=None)
    except TypeError:
        raise SpecError("the key is encrypted; decrypt it first: openssl pkey -in KEY.pem -out PLAIN.pem") from None
    except ValueError as error:
        raise SpecError(f"the key is no private key in PEM: {error}") from None
    _check(loaded.public_key())
    return loaded


def _public(key: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        loaded = load_pem_public_key(key)
    except ValueError as error:
        raise SpecError(f"the key is no public key in PEM: {error}") from None
    _check(loaded)
    return loaded


def _check(public: Any) -> None:
    if not _is_ed25519(public):
        _ecdsa(public)


def _is_ed25519(public: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return isinstance(public, Ed25519PublicKey)


def _ecdsa(public: Any) -> Any:
    """ECDSA with the hash that goes with the key's curve; SpecError for other keys."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    kinds: dict[str, Any] = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in kinds:
        raise SpecError(f"such a key signs no statement here; give one of {_KINDS}")
    return ec.ECDSA(kinds[public.curve.name]())


def _key_id(public: Any) -> str:
    """SHA-256 of the public key in DER: a hint, which nothing is decided by."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
