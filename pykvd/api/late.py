"""Services that are loaded for their first call: a start does not wait for what few clients use."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")

LOCK = ("/v3lockpb.Lock/Lock", "/v3lockpb.Lock/Unlock")
ELECTION = (
    "/v3electionpb.Election/Campaign",
    "/v3electionpb.Election/Proclaim",
    "/v3electionpb.Election/Leader",
    "/v3electionpb.Election/Resign",
)
OBSERVE = "/v3electionpb.Election/Observe"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


def late(
    load: Callable[[], Mapping[str, Callable[P, R]]], *paths: str
) -> dict[str, Callable[P, R]]:
    """Handlers of `paths` that `load` all of them when the first is called."""
    loaded = cache(load)

    def handler(path: str) -> Callable[P, R]:
        def handle(*args: P.args, **kwargs: P.kwargs) -> R:
            return loaded()[path](*args, **kwargs)

        return handle

    return {path: handler(path) for path in paths}
