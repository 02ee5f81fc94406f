"""`--auth-token`: which tokens a member uses, and where their keys are."""

import time
from collections.abc import Callable
from pathlib import Path

from pykvd.auth.tokens import NoTokens, SimpleTokens, Tokens
from pykvd.config.values import parse_duration
from pykvd.logs import get_logger

JWT_TTL = 300.0
_KNOWN = frozenset({"sign-method", "pub-key", "priv-key", "ttl"})

_log = get_logger("auth")


class InvalidAuthOptionsError(ValueError):
    """`--auth-token` cannot be used; the text is etcd's."""

    def __init__(self, text: str = "auth: invalid auth options") -> None:
        super().__init__(text)


def make_tokens(option: str, simple_ttl: int, clock: Callable[[], float]) -> Tokens:
    """Tokens as `--auth-token` and `--auth-token-ttl` (seconds) ask for.

    `clock` is monotonic, for simple tokens. Raises InvalidAuthOptionsError; reads key files.
    """
    kind, *pairs = option.split(",")
    fields = _fields(pairs)
    match kind:
        case "simple":
            return SimpleTokens(simple_ttl, clock)
        case "jwt":
            return _make_jwt(fields)
        case "":
            return NoTokens()
    _log.warn("unknown token type", type=kind)
    raise InvalidAuthOptionsError


def _fields(pairs: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for pair in pairs:
        name, *value = pair.split("=")
        if len(value) != 1 or name in fields:
            _log.error("invalid token option", option=name)
            raise InvalidAuthOptionsError
        fields[name] = value[0]
    return fields


def _make_jwt(fields: dict[str, str]) -> Tokens:
    # Costs a tenth of a second, and few use it.
    from pykvd.auth.jwt import METHODS, JwtTokens, UnusableKeyError  # noqa: PLC0415

    if unknown := sorted(fields.keys() - _KNOWN):
        _log.warn("unknown JWT options", keys=unknown)
    method = fields.get("sign-method", "")
    if method not in METHODS:
        _log.error("problem loading JWT options", error="auth: invalid auth signature method")
        raise InvalidAuthOptionsError
    try:
        ttl = parse_duration(fields["ttl"]) if fields.get("ttl") else JWT_TTL
        private, public = (_read(fields.get(name, "")) for name in ("priv-key", "pub-key"))
    except (ValueError, OSError) as error:
        _log.error("problem loading JWT options", error=str(error))
        raise InvalidAuthOptionsError from None
    try:
        return JwtTokens(method, private=private, public=public, ttl=ttl, clock=time.time)
    except UnusableKeyError as error:
        raise InvalidAuthOptionsError(str(error)) from None


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""
