"""The description of the gateway: kept up to date, valid, and with every RPC in it."""

import subprocess
import sys
from pathlib import Path

from openapi_spec_validator import validate

from pykvd.gateway.openapi import describe
from pykvd.gateway.routes import ROUTES
from pykvd.pb import rpc_pb2, v3election_pb2, v3lock_pb2

ROOT = Path(__file__).resolve().parents[3]
#: etcd has no path for it either.
WITHOUT_PATH = {("etcdserverpb.KV", "RangeStream")}


def test_the_kept_description_is_current(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.json"
    script = [sys.executable, str(ROOT / "scripts" / "openapi.py"), str(fresh)]
    subprocess.run(script, check=True, timeout=60, cwd=ROOT)
    kept = ROOT / "docs" / "openapi.json"
    assert fresh.read_text() == kept.read_text(), "run python scripts/openapi.py"


def test_it_is_a_valid_description() -> None:
    validate(describe())


def test_every_rpc_has_a_path() -> None:
    methods = {
        (service.full_name, method.name)
        for module in (rpc_pb2, v3lock_pb2, v3election_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods - set(ROUTES.values()) == WITHOUT_PATH
