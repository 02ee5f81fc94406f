"""Endpoints as users write them: `host:port`, `:port`, `http(s)://..`, `unix(s)://path`."""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """One server address.

    `text` is what the user wrote, `target` what gRPC dials, `address` what messages show, and
    `tls` is None where the scheme leaves the choice to the TLS flags.
    """

    text: str
    target: str
    address: str
    tls: bool | None


_SCHEMES: dict[str, tuple[bool | None, bool]] = {
    "http": (False, False),
    "https": (True, False),
    "unix": (None, True),
    "unixs": (True, True),
}


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint written as `text`; anything is accepted, bad addresses fail when dialled."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme in _SCHEMES:
        tls, is_path = _SCHEMES[scheme]
        if is_path:
            return Endpoint(text, f"unix:{rest}", rest, tls)
        address = rest.partition("/")[0]
    else:
        tls, address = None, text
    target = f"localhost{address}" if address.startswith(":") else address
    return Endpoint(text, target, address, tls)


def parse_endpoints(texts: list[str]) -> list[Endpoint]:
    """All endpoints of the flag, blanks around them removed."""
    return [parse_endpoint(text.strip()) for text in texts]
