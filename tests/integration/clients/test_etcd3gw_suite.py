"""etcd3gw's own tests, which its package brings along, against our JSON gateway."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pykvd

#: Of etcd3gw 2.7: fewer would mean that the suite has not found the server.
TESTS = 39


@pytest.mark.long
def test_the_suite_of_etcd3gw(tmp_path: Path) -> None:
    # All that the suite takes of oslotest, which is not a package that pykvd needs.
    (tmp_path / "oslotest").mkdir()
    (tmp_path / "oslotest" / "base.py").write_text(
        "from unittest import TestCase as BaseTestCase\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    command += ["--rootdir", str(tmp_path), "--pyargs", "etcd3gw.tests"]
    with pykvd.serve() as server:
        port = server.endpoint.rpartition(":")[2]
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=110,
            env={
                **os.environ,
                "PYTHONPATH": str(tmp_path),
                "TOOZ_TEST_HTTP_URL": f"http://127.0.0.1:{port}",
                "TOOZ_TEST_ETCD_PORT": port,
            },
        )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= TESTS, done.stdout
