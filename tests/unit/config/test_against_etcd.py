"""The texts of syntax errors, side by side with a real etcd."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pykvd.config import Config, UsageError

ETCD = shutil.which("etcd")

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(ETCD is None, reason="etcd is not installed"),
]


@pytest.mark.parametrize(
    "argv",
    [
        ["--nam=x"],
        ["---name"],
        ["-=name"],
        ["--name"],
        ["--auto-tls=foo"],
        ["--auto-tls="],
        ["--max-txn-ops", "2GB"],
        ["--max-txn-ops", "-1"],
        ["--max-txn-ops", "1__0"],
        ["--max-txn-ops", "0x"],
        ["--max-txn-ops", "089"],
        ["--max-txn-ops", "99999999999999999999"],
        ["--quota-backend-bytes", "9223372036854775808"],
        ["--max-concurrent-streams", "x"],
        ["--max-concurrent-streams", "4294967296"],
        ["--backend-batch-interval", "5"],
        ["--backend-batch-interval", "1d"],
        ["--initial-cluster-state", "New"],
        ["--cors", "foo"],
        ["--listen-client-urls", "127.0.0.1:2379"],
        ["--listen-client-urls", "localhost:2379"],
        ["--listen-client-urls", "1.2.3.4"],
        ["--listen-client-urls", "ftp://1.2.3.4:1"],
        ["--listen-client-urls", "http://1.2.3.4"],
        ["--listen-client-urls", "http://1.2.3.4:1/"],
        ["--listen-client-urls", "http://1.2.3.4:x"],
        ["--listen-client-urls", "http://::1:1"],
        ["--listen-client-urls", "http://1.2.3.4:1,,http://1.2.3.4:2"],
    ],
)
def test_same_text(argv: list[str], tmp_path: Path) -> None:
    # A last flag that is wrong in any case: no value above can start a server.
    argv = [*argv, "--wrong"] if argv[-1] != "--name" else argv
    assert ETCD
    done = subprocess.run(
        [ETCD, *argv], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == 2
    with pytest.raises(UsageError) as caught:
        Config.from_args(argv, {})
    assert str(caught.value) == done.stderr.splitlines()[0]
