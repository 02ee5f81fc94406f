"""Feature gates: named switches, `--feature-gates=Name=true,Other=false`."""

from __future__ import annotations

from typing import NamedTuple

from pykvd.config.options import Kind
from pykvd.config.values import parse_bool, quote


class Gate(NamedTuple):
    """One switch: its stage (`alpha`, `beta`), its default and the flag that it replaces."""

    stage: str
    default: bool
    was: str = ""


GATES = {
    "StopGRPCServiceOnDefrag": Gate("alpha", False, "experimental-stop-grpc-service-on-defrag"),
    "InitialCorruptCheck": Gate("alpha", False, "experimental-initial-corrupt-check"),
    "CompactHashCheck": Gate("alpha", False, "experimental-compact-hash-check-enabled"),
    "TxnModeWriteWithSharedBuffer": Gate(
        "beta", True, "experimental-txn-mode-write-with-shared-buffer"
    ),
    "LeaseCheckpoint": Gate("alpha", False, "experimental-enable-lease-checkpoint"),
    "LeaseCheckpointPersist": Gate("alpha", False, "experimental-enable-lease-checkpoint-persist"),
    "SetMemberLocalAddr": Gate("alpha", False),
    "FastLeaseKeepAlive": Gate("beta", True),
    "PriorityRequest": Gate("alpha", False),
}
_STAGES = {"AllAlpha": "alpha", "AllBeta": "beta"}


class FeatureGates(NamedTuple):
    """The switches that were set, in the order of their names; all others keep their default."""

    chosen: tuple[tuple[str, bool], ...] = ()

    def enabled(self, name: str) -> bool:
        """Whether the feature is on: named itself, or through its stage, or by default.

        Raises KeyError for a gate that does not exist.
        """
        gate = GATES[name]
        chosen = dict(self.chosen)
        by_stage = {_STAGES[n]: on for n, on in self.chosen if n in _STAGES}
        return chosen.get(name, by_stage.get(gate.stage, gate.default))

    def with_gates(self, gates: dict[str, bool]) -> FeatureGates:
        """The same with further switches set."""
        return FeatureGates(tuple(sorted({**dict(self.chosen), **gates}.items())))


def parse_gates(text: str) -> FeatureGates:
    """The switches in `Name=bool,Name=bool`; ValueError says which one is wrong."""
    chosen: dict[str, bool] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"missing bool value for {name}")
        try:
            chosen[name] = parse_bool(value)
        except ValueError:
            raise ValueError(
                f"invalid value of {name}={value}, err: "
                f"strconv.ParseBool: parsing {quote(value)}: invalid syntax"
            ) from None
        if name not in GATES and name not in _STAGES:
            raise ValueError(f"unrecognized feature gate: {name}")
    return FeatureGates().with_gates(chosen)


def format_gates(gates: FeatureGates) -> str:
    """The list that `parse_gates` reads."""
    return ",".join(f"{name}={str(on).lower()}" for name, on in gates.chosen)


FEATURE_GATES: Kind[FeatureGates] = Kind("gates", parse_gates, format_gates)
