"""`--auth-token`."""

import time
from pathlib import Path

import pytest

from pykvd.auth.jwt import JwtTokens
from pykvd.auth.options import InvalidAuthOptionsError, make_tokens
from pykvd.auth.tokens import NoTokens, SimpleTokens, Tokens
from tests.unit.auth.keys import pair


def make(option: str) -> Tokens:
    return make_tokens(option, 300, time.monotonic)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Paths of an RSA pair, another public key and a secret."""
    private, public = pair("RS256")
    contents = {"priv": private, "pub": public, "other": pair("ES256")[1], "secret": b"s" * 40}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def test_kinds(files: dict[str, str]) -> None:
    assert isinstance(make("simple"), SimpleTokens)
    assert isinstance(make(""), NoTokens)
    option = f"jwt,sign-method=RS256,priv-key={files['priv']},pub-key={files['pub']},ttl=1h"
    assert isinstance(make(option), JwtTokens)
    assert isinstance(make(f"jwt,sign-method=HS256,priv-key={files['secret']}"), JwtTokens)
    assert isinstance(make(f"jwt,pub-key={files['pub']},sign-method=PS512,x=y"), JwtTokens)


@pytest.mark.parametrize(
    "option",
    [
        "bearer",
        "jwt",
        "jwt,sign-method",
        "jwt,sign-method=RS256",
        "jwt,sign-method=RS1",
        "jwt,sign-method=none,priv-key={secret}",
        "jwt,sign-method=HS256,sign-method=HS256,priv-key={secret}",
        "jwt,sign-method=HS256,priv-key={secret},ttl=soon",
        "jwt,sign-method=HS256,priv-key={secret},ttl=1=2",
        "jwt,sign-method=HS256,priv-key=/nowhere",
        "jwt,sign-method=RS256,priv-key={priv},pub-key={other}",
        "jwt,sign-method=HS256,pub-key={secret}",
    ],
)
def test_options_that_stop_the_start(option: str, files: dict[str, str]) -> None:
    with pytest.raises(InvalidAuthOptionsError, match=r"^auth: "):
        make(option.format(**files))
