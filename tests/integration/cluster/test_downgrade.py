"""A downgrade is announced to all members, outlives restarts, and can be called off."""

from pathlib import Path

import grpc

from pykvd.errors import Failure
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import methods
from tests.integration.cluster.together import NAMES, Together, together
from tests.integration.store.serving import eventually, refused

ENABLE, CANCEL = rpc.DowngradeRequest.ENABLE, rpc.DowngradeRequest.CANCEL
VALIDATE = rpc.DowngradeRequest.VALIDATE
RUNNING = "etcdserver: cluster has a downgrade job in progress"


async def told_everywhere(cluster: Together, enabled: bool, target: str) -> None:
    async def told() -> bool:
        infos = [(await cluster.clients[each].status()).downgradeInfo for each in NAMES]
        return all((info.enabled, info.targetVersion) == (enabled, target) for info in infos)

    await eventually(told, "all members to know")


async def ask(cluster: Together, action: rpc.DowngradeRequest.DowngradeAction, to: str) -> str:
    request = rpc.DowngradeRequest(action=action, version=to)
    return (await cluster.clients["n2"].call(methods.DOWNGRADE, request)).version


async def test_announced_and_called_off(tmp_path: Path) -> None:
    async with together(tmp_path) as cluster:
        await cluster.leader()
        await told_everywhere(cluster, False, "")
        assert await ask(cluster, VALIDATE, "3.5.9") == "3.5"
        assert await ask(cluster, ENABLE, "3.5") == "3.5"
        await told_everywhere(cluster, True, "3.5.0")
        for action in (ENABLE, VALIDATE):
            async with refused(grpc.StatusCode.FAILED_PRECONDITION, RUNNING):
                await ask(cluster, action, "3.5")
        await cluster.stop()
        await cluster.start()
        await told_everywhere(cluster, True, "3.5.0")
        assert await ask(cluster, CANCEL, "") == "3.6"
        await told_everywhere(cluster, False, "")
        assert await ask(cluster, CANCEL, "") == "3.6"


async def test_versions_that_are_none(tmp_path: Path) -> None:
    text = Failure.BAD_DOWNGRADE_VERSION_FORMAT.text
    async with together(tmp_path) as cluster:
        await cluster.leader()
        for version in ("", "3", "3.", "\u0663.\u0665", "9" * 5_000 + ".1"):
            async with refused(grpc.StatusCode.INVALID_ARGUMENT, text):
                await ask(cluster, VALIDATE, version)
