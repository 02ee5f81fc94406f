"""JSON Web Tokens (RFC 7519), signed: nothing to remember, good on every member that has the key.

Claims, as etcd's: `username`, `revision` (of the auth store, at login), `exp`. The header's
algorithm must be the configured one: a token cannot choose how it is checked.
"""

import warnings
from collections.abc import Callable
from math import inf
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.warnings import InsecureKeyLengthWarning

from pykvd.auth.identity import Identity
from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger

#: What each family of algorithms signs and checks with.
_KEY_TYPES: dict[str, tuple[type, type]] = {
    "RS": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "PS": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "ES": (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
    "Ed": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
}
METHODS = frozenset(
    {f"{kind}{bits}" for kind in ("RS", "PS", "ES", "HS") for bits in (256, 384, 512)} | {"EdDSA"}
)
#: Verified tokens that are remembered, so that a signature is checked once.
REMEMBERED = 4096
#: A shorter secret is easier to guess than the signature (RFC 7518 3.2).
HMAC_SECRET_BYTES = 32
VERIFY_ONLY = Code.UNKNOWN, "auth: token signing attempted with verify-only key"

_MAX_REVISION = (1 << 64) - 1
# etcd looks at the expiry and at "not before", and at no other registered claim.
_OPTIONS: Any = {f"verify_{claim}": False for claim in ("aud", "iss", "iat", "sub", "jti")}

# The last two come from JSON that is nested too deep, and from numbers beyond all dates.
_BAD_TOKEN = (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError)

_log = get_logger("auth")


class UnusableKeyError(ValueError):
    """The keys cannot be used; the text says why."""


class JwtTokens:
    """Tokens of one algorithm (`method`, a member of METHODS).

    `private` and `public` are PEM; HS* takes its secret from `private` and has no public key. With
    a public key alone tokens can be checked, not made. Those made here live `ttl` seconds of
    `clock`, which counts from the epoch. Raises UnusableKeyError.
    """

    def __init__(
        self,
        method: str,
        *,
        private: bytes = b"",
        public: bytes = b"",
        ttl: float,
        clock: Callable[[], float],
    ) -> None:
        self._method = method
        self._ttl = ttl
        self._clock = clock
        self._signing: Any
        self._checking: Any
        if method.startswith("HS"):
            self._signing = self._checking = _secret(private)
        else:
            self._signing, self._checking = _pair(method, private, public)
        self._verified: dict[str, tuple[Identity, float]] = {}

    def find(self, token: str, revision: int) -> Identity | None:  # noqa: ARG002
        """Whose token it is, with the revision that it was made at."""
        known = self._verified.get(token)
        if known is None:
            known = self._verify(token)
            if known is None:
                return None
            if len(self._verified) >= REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = known
        identity, expiry = known
        if expiry <= self._clock():
            self._verified.pop(token, None)
            return None
        return identity

    def _verify(self, token: str) -> tuple[Identity, float] | None:
        try:
            claims = jwt.decode(token, self._checking, algorithms=[self._method], options=_OPTIONS)
        except _BAD_TOKEN as error:
            # The kind alone: a message may quote the token.
            _log.warn("failed to parse a JWT token", error=type(error).__name__)
            return None
        name, revision = claims.get("username"), _revision(claims.get("revision"))
        if not isinstance(name, str) or not _is_text(name) or revision is None:
            _log.warn("failed to obtain user claims from jwt token")
            return None
        return Identity(name, revision), float(claims.get("exp", inf))

    def awaits(self, token: str) -> int:  # noqa: ARG002
        """Nothing to wait for: the token says all."""
        return 0

    def assign(self, user: str, prefix: str, index: int) -> str:  # noqa: ARG002
        """Nothing to note."""
        return ""

    def issue(self, user: str, revision: int) -> str:
        """A new token; raises RpcError where there is no key to sign with."""
        if self._signing is None:
            raise RpcError(*VERIFY_ONLY)
        expiry = int(self._clock() + self._ttl)
        claims = {"username": user, "revision": revision, "exp": expiry}
        return jwt.encode(claims, self._signing, algorithm=self._method)

    def forget_user(self, user: str) -> None:
        """Nothing is known of users; the auth revision makes older tokens useless for keys."""

    def forget_all(self) -> None:
        """Nothing has to be forgotten."""


def _is_text(name: str) -> bool:
    """Whether the log can hold a name: JSON may have half of a surrogate pair in a string."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _revision(claim: object) -> int | None:
    """A claim as auth revision; JSON's numbers may be floats."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    return int(claim) if 0 <= claim <= _MAX_REVISION else None


def _secret(secret: bytes) -> bytes:
    if not secret:
        raise UnusableKeyError("auth: missing key data")
    if len(secret) < HMAC_SECRET_BYTES:
        _log.warn("the secret for JWT is short", bytes=len(secret), recommended=HMAC_SECRET_BYTES)
        # Said once, here; not with every token.
        warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    return secret


def _pair(method: str, private_pem: bytes, public_pem: bytes) -> tuple[Any, Any]:
    """The keys to sign with, if there is one, and to check with."""
    private_type, public_type = _KEY_TYPES[method[:2]]
    private: Any = None
    public: Any = None
    try:
        if private_pem:
            private = serialization.load_pem_private_key(private_pem, None)
        if public_pem:
            public = _load_public(public_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKeyError(f"auth: unusable key for {method}: {error}") from None
    if private is None and public is None:
        raise UnusableKeyError("auth: missing key data")
    for key, kind in ((private, private_type), (public, public_type)):
        if key is not None and not isinstance(key, kind):
            raise UnusableKeyError(f"auth: a key is none for {method}")
    if private is None:
        return None, public
    if public is not None and public != private.public_key():
        raise UnusableKeyError("auth: public and private keys don't match")
    return private, private.public_key()


def _load_public(pem: bytes) -> Any:
    """A public key, bare or in a certificate, as Go's library takes both."""
    if b"BEGIN CERTIFICATE" in pem:
        from cryptography import x509  # noqa: PLC0415  # seldom needed

        return x509.load_pem_x509_certificate(pem).public_key()
    return serialization.load_pem_public_key(pem)
