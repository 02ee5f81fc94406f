"""JSON web tokens: every algorithm, every way to be wrong."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pykvd.auth.identity import Identity
from pykvd.auth.jwt import METHODS, REMEMBERED, JwtTokens, UnusableKeyError
from pykvd.errors import RpcError
from tests.unit.auth.keys import HMAC_SECRET, pair

HOUR = 3600


def make(method: str = "HS256", **fields: Any) -> JwtTokens:
    private, public = pair(method)
    settings: dict[str, Any] = {"private": private, "public": public, "ttl": 60.0}
    return JwtTokens(method, **{**settings, "clock": time.time, **fields})


def sign(claims: dict[str, Any], method: str = "HS256", key: Any = HMAC_SECRET) -> str:
    return jwt.encode(claims, key, algorithm=method)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_algorithm_signs_and_checks(method: str) -> None:
    tokens = make(method)
    token = tokens.issue("u", 7)
    assert tokens.find(token, 99) == Identity("u", 7)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims == {"username": "u", "revision": 7, "exp": claims["exp"]}
    assert 50 < claims["exp"] - time.time() <= 60
    assert jwt.get_unverified_header(token)["alg"] == method


@pytest.mark.parametrize("method", ["RS256", "PS384", "ES512", "EdDSA"])
def test_a_public_key_alone_checks(method: str) -> None:
    token = make(method).issue("u", 7)
    verifier = make(method, private=b"")
    assert verifier.find(token, 1) == Identity("u", 7)
    with pytest.raises(RpcError) as refused:
        verifier.issue("u", 7)
    assert refused.value.message == "auth: token signing attempted with verify-only key"


def test_a_token_ends() -> None:
    now = [time.time()]
    tokens = make(clock=lambda: now[0])
    token = tokens.issue("u", 1)
    assert tokens.find(token, 1)
    now[0] += 61
    assert tokens.find(token, 1) is None
    assert make().find(sign({"username": "u", "revision": 1, "exp": 1}), 1) is None


GOOD = {"username": "u", "revision": 3, "exp": time.time() + HOUR}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"username": "u"},
        {"revision": 3},
        {**GOOD, "username": 5},
        {**GOOD, "username": None},
        {**GOOD, "username": "\ud800"},
        {**GOOD, "revision": "3"},
        {**GOOD, "revision": True},
        {**GOOD, "revision": -1},
        {**GOOD, "revision": 1e300},
        {**GOOD, "revision": None},
        {**GOOD, "exp": "tomorrow"},
        {**GOOD, "nbf": time.time() + HOUR},
    ],
)
def test_claims_that_say_nothing(claims: dict[str, Any]) -> None:
    assert make().find(sign(claims), 1) is None


@pytest.mark.parametrize(
    "more",
    [{"aud": "other"}, {"iss": "other"}, {"iat": time.time() + HOUR}, {"sub": 5}, {"jti": 5}],
)
def test_claims_that_etcd_does_not_look_at(more: dict[str, Any]) -> None:
    assert make().find(sign({**GOOD, "revision": 3.0, **more}), 1) == Identity("u", 3)


def test_a_token_cannot_choose_its_algorithm() -> None:
    """The public key must never serve as a secret, nor may the signature be left out."""
    _, public = pair("RS256")
    tokens = make("RS256")
    signed = ".".join(_part(json.dumps(each)) for each in ({"alg": "HS256", "typ": "JWT"}, GOOD))
    signature = hmac.digest(public, signed.encode(), "sha256")
    assert tokens.find(f"{signed}.{_part(signature)}", 1) is None
    assert tokens.find(jwt.encode(GOOD, "", algorithm="none"), 1) is None
    assert make("HS256").find(sign(GOOD, "HS512"), 1) is None


def _part(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_signature_of_another_key() -> None:
    assert make().find(sign(GOOD, key=b"x" * 64), 1) is None


def test_verified_tokens_are_bounded() -> None:
    tokens = make()
    for number in range(REMEMBERED + 10):
        assert tokens.find(sign({**GOOD, "revision": number}), 1)
    assert len(tokens._verified) == REMEMBERED


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("HS256", {"private": b""}),
        ("RS256", {"private": b"", "public": b""}),
        ("RS256", {"private": b"junk"}),
        ("RS256", {"public": b"junk"}),
        ("RS256", {"private": pair("ES256")[0], "public": b""}),
        ("ES256", {"public": pair("EdDSA")[1], "private": b""}),
        ("ES256", {"public": pair("ES384")[1]}),
    ],
)
def test_keys_that_cannot_be_used(method: str, fields: dict[str, bytes]) -> None:
    with pytest.raises(UnusableKeyError):
        make(method, **fields)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){0,4}")))
@example(base64.urlsafe_b64encode(b"[" * 6000).decode() + ".e30.c2ln")
@example("eyJhbGciOiJIUzI1NiJ9.e30.")
def test_any_text_is_judged(text: str) -> None:
    assert make().find(text, 1) is None


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 400), character=st.sampled_from("Aa0_-.=~\xff"))
def test_a_changed_token_is_none(position: int, character: str) -> None:
    token = sign({**GOOD, "pad": "x" * 40})
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    found = make().find(changed, 1)
    # The last letter of a base64 part has bits that carry nothing.
    assert found is None or _same(changed, token)


def _same(one: str, other: str) -> bool:
    def parts(token: str) -> list[bytes]:
        return [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]

    return parts(one) == parts(other)
