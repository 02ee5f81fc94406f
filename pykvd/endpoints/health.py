"""`/health`, `/livez` and `/readyz`."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from pykvd.endpoints.checks import ADVICE, CheckError, HealthChecks, run_checks
from pykvd.http import Exchange, Handler, Head, Response
from pykvd.http.message import TEXT, method_not_allowed, not_found, text_response
from pykvd.http.tasks import async_handler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pykvd.metrics import HealthCounts

_Checks = dict[str, "Callable[[], Awaitable[None]]"]


def health_routes(checks: HealthChecks, counts: HealthCounts) -> dict[str, Handler]:
    """The health endpoints by path; `counts` hears how they were answered."""
    routes = {"/health": async_handler(partial(_health, checks, counts))}
    for root, group in (("livez", checks.live), ("readyz", checks.ready)):
        probe = async_handler(partial(_probe, root, group, counts))
        routes[f"/{root}"] = probe
        routes[f"/{root}/"] = probe
    return routes


async def _health(checks: HealthChecks, counts: HealthCounts, exchange: Exchange) -> Response:
    """The older answer: a JSON text whatever the type says, and 503 when something is wrong.

    `verbose` adds what to do about the alarms that are up.
    """
    head = exchange.head
    if head.method != "GET":
        return method_not_allowed("GET")
    reason = await _reason(checks, head)
    counts.answered(healthy=not reason)
    answer: dict[str, object] = {"health": "false" if reason else "true", "reason": reason}
    if "verbose" in head.parameters:
        answer["advice"] = [
            ADVICE[name].format(member=member) for member, name in checks.alarms() if name in ADVICE
        ]
    body = json.dumps(answer, separators=(",", ":"))
    if reason:
        return text_response(503, body + "\n")
    return Response(200, (("Content-Type", TEXT),), body.encode())


async def _reason(checks: HealthChecks, head: Head) -> str:
    """What is wrong, or the empty text; looked at in etcd's order."""
    alarms = checks.alarms(exclude=head.parameters.get("exclude", ()))
    if alarms:
        return f"ALARM {alarms[0][1]}"
    local = head.parameters.get("serializable", [""])[0] == "true"
    if not local and not checks.has_leader:
        return "RAFT NO LEADER"
    try:
        await (checks.read_locally() if local else checks.read_through_the_leader())
    except CheckError as error:
        return f"RANGE ERROR:{error}"
    return ""


async def _probe(root: str, group: _Checks, counts: HealthCounts, exchange: Exchange) -> Response:
    """`/livez` and `/readyz`, whole or one check of them."""
    head = exchange.head
    if head.method != "GET":
        return method_not_allowed("GET")
    wanted = _wanted(root, group, head)
    if wanted is None:
        return not_found()
    outcomes = await run_checks(wanted)
    for name, failure in outcomes.items():
        counts.checked(root, name, ok=not failure)
    lines = [
        f"[-]{name} failed: {failure}" if failure else f"[+]{name} ok"
        for name, failure in outcomes.items()
    ]
    if any(outcomes.values()):
        return text_response(503, "\n".join(lines) + "\n\n")
    verbose = "verbose" in head.parameters
    return text_response(200, "".join(f"{line}\n" for line in lines if verbose) + "ok\n")


def _wanted(root: str, group: _Checks, head: Head) -> _Checks | None:
    name = head.path.removeprefix(f"/{root}").removeprefix("/")
    if not name:
        excluded = head.parameters.get("exclude", ())
        return {name: check for name, check in group.items() if name not in excluded}
    return {name: group[name]} if name in group else None
