"""Keys for JSON web tokens."""

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

HMAC_SECRET = b"0123456789abcdef" * 4


@cache
def pair(method: str) -> tuple[bytes, bytes]:
    """PEM of a private and its public key; a secret and nothing for HMAC."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    match method[:2]:
        case "HS":
            return HMAC_SECRET, b""
        case "RS" | "PS":
            key = _rsa()
        case "ES":
            curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
            key = ec.generate_private_key(curves[method])
        case _:
            key = ed25519.Ed25519PrivateKey.generate()
    return encode(key)


@cache
def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def encode(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> tuple[bytes, bytes]:
    """Both halves as PEM."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public
