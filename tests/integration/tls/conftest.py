"""Certificates for all tests here; listeners in this process run on both event loops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.harness.certificates import CLIENT, DAY, SERVER, Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.certificates import Pair


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Papers:
    """One authority that everybody trusts, with all kinds of certificates, and a stranger."""

    directory: Path
    ca: Authority
    server: Pair
    alice: Pair
    clients: dict[str, Pair]


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    directory = tmp_path_factory.mktemp("papers")
    ca, other = Authority(directory), Authority(directory, "other")
    lesser = Authority(directory, "lesser", signed_by=ca)
    clients = {
        "alice": ca.issue("alice", usages=(CLIENT,)),
        "bob": ca.issue("bob"),
        "nameless": ca.issue("nameless", common_name=""),
        "no names": ca.issue("mobile", hosts=()),
        "stranger": other.issue("stranger", common_name="alice"),
        "expired": ca.issue("expired", common_name="alice", begins=-2 * DAY, ends=-DAY),
        "not yet valid": ca.issue("early", common_name="alice", begins=DAY, ends=2 * DAY),
        "server only": ca.issue("wrong-usage", common_name="alice", usages=(SERVER,)),
        "revoked": ca.issue("revoked", common_name="alice"),
        "elsewhere": ca.issue("elsewhere", common_name="alice", hosts=("10.1.2.3",)),
        "by name": ca.issue("by-name", hosts=("localhost",)),
        "by wildcard": ca.issue("by-wildcard", hosts=("*.invalid",)),
        "named elsewhere": ca.issue("named", common_name="alice", hosts=("node.invalid",)),
        "by a lesser authority": lesser.issue("chained", common_name="alice"),
    }
    return Papers(directory, ca, ca.issue("server"), clients["alice"], clients)
