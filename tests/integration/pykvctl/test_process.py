"""The command as a process: signals, what it imports, bytes that are no text."""

import signal
import subprocess
import sys
from typing import BinaryIO, cast

from tests.harness import Server, wait_until
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli

PROGRAM = [sys.executable, "-m", "pykvctl"]


def test_keys_and_values_are_bytes(server: Server) -> None:
    """What is no UTF-8 passes through arguments, pipes and outputs unchanged."""
    environ = environment(server)
    put: list[str | bytes] = [*PROGRAM, "put", b"k\xff\x01", "--", b"-\xfe\n"]
    assert subprocess.run(put, env=environ, capture_output=True, check=True).stdout == b"OK\n"
    get: list[str | bytes] = [*PROGRAM, "get", "--prefix", b"k\xff"]
    out = subprocess.run(get, env=environ, capture_output=True, check=True).stdout
    assert out == b"k\xff\x01\n-\xfe\n\n"
    assert run_cli(["put", "piped"], environ, b"\x00\xff")[2] == 0
    assert run_cli(["get", "piped", "--hex"], environ)[0].endswith(b"\\x00\\xff\n")


def test_values_of_the_largest_size_pass(server: Server) -> None:
    """A megabyte goes in and out; more than the client's limit is refused without a server."""
    environ = environment(server)
    value = b"x" * (1 << 20)
    assert run_cli(["put", "big"], environ, value) == (b"OK\n", b"", 0)
    assert run_cli(["get", "big", "--print-value-only"], environ) == (value + b"\n", b"", 0)
    _, err, status = run_cli(["put", "big"], environ, b"x" * (2 << 20))
    assert b"trying to send message larger than max" in err.splitlines()[-1]
    assert status == 1
    assert run_cli(["put", "big", "--max-request-bytes=5"], environ, b"x")[2] == 1


def test_ctrl_c_kills_without_a_word() -> None:
    """A command without a deadline, waiting for a server, ends by the signal itself."""
    words = [*PROGRAM, "--endpoints=127.0.0.1:1", "--debug", "lease", "list"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = cast(BinaryIO, process.stderr).readline()
    assert first.startswith(b"ETCDCTL_CACERT=")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert b"Traceback" not in err


def test_only_commands_that_call_import_grpc() -> None:
    """Help and argument errors do not wait for gRPC."""
    script = (
        "import io, sys\n"
        "from pykvctl.dispatch import run\n"
        "from pykvctl.streams import Streams\n"
        "for words in (['version'], ['get'], ['put', '-z'], ['bogus']):\n"
        "    run(words, Streams(io.BytesIO(), io.BytesIO(), io.BytesIO()), {})\n"
        "sys.exit('grpc' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_interactive_watches_run_side_by_side(server: Server) -> None:
    """A command that takes long for one watch does not hold up another."""
    environ = environment(server)
    process = subprocess.Popen(
        [*PROGRAM, "watch", "-i"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    )
    stdin, stdout = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
    assert run_cli(["put", "slow", "1"], environ)[2] == 0
    stdin.write(b"watch slow --rev=1 -- sleep 3\n")
    stdin.flush()
    assert [stdout.readline() for _ in range(3)] == [b"PUT\n", b"slow\n", b"1\n"]
    assert run_cli(["put", "quick", "2"], environ)[2] == 0
    stdin.write(b"watch quick --rev=1\n")
    stdin.flush()
    assert [stdout.readline() for _ in range(3)] == [b"PUT\n", b"quick\n", b"2\n"]
    stdin.close()
    wait_until(lambda: process.poll() is not None, "the end of input to end it")
    assert process.returncode == 3
    with stdout, cast(BinaryIO, process.stderr) as stderr:
        assert stderr.readline() == b"Error: error reading watch request line: EOF\n"
