"""`pykvd.serve`: a server in a thread of the program."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

import pykvd
from pykvd.wal import DataDirLocked
from tests.integration.embedding.held import held
from tests.integration.embedding.requests import PUT, put, revision, soon

CYCLES = 100


def write(server: pykvd.BackgroundServer) -> int:
    """Put; returns the revision."""
    transport = server.transport()
    try:
        return revision(transport.unary(PUT, put(), soon(), ()))
    finally:
        transport.close()


def connect(server: pykvd.BackgroundServer) -> socket.socket:
    host, port = server.endpoint.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_it_starts_and_stops_a_hundred_times_and_leaves_nothing() -> None:
    with pykvd.serve() as server:
        write(server)
    before = held()
    for _ in range(CYCLES):
        with pykvd.serve() as server, connect(server) as connection:
            assert write(server) == 2
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            assert connection.recv(1)
    assert held() == before


def test_starts_that_fail_leave_nothing(tmp_path: Path) -> None:
    with pykvd.serve(data_dir=tmp_path):
        before = held()
        for _ in range(3):
            with pytest.raises(DataDirLocked), pykvd.serve(data_dir=tmp_path):
                pass
        assert held() == before


def test_the_process_is_left_as_it_was() -> None:
    def state() -> list[object]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        loggers = [logging.getLogger(name) for name in ("", "pykvd")]
        return [
            handlers,
            [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers],
            sys.getswitchinterval(),
            threading.excepthook,
            os.getcwd(),
        ]

    import pykvd.logs

    before = state()
    with pykvd.serve() as server:
        write(server)
        assert state() == before
    assert state() == before


def test_data_in_a_directory_of_its_own_is_gone_at_the_end() -> None:
    with pykvd.serve() as server:
        directory = Path(server.config.data_dir)
        assert directory.is_dir()
        server.stop()
        assert directory.is_dir()
        server.start()
    assert not directory.exists()


def test_data_in_a_given_directory_stays(tmp_path: Path) -> None:
    for expected in (2, 3):
        with pykvd.serve(data_dir=tmp_path) as server:
            assert not server.config.unsafe_no_fsync
            assert write(server) == expected


def test_a_restart_keeps_data_and_endpoint() -> None:
    with pykvd.serve() as server:
        endpoint = server.endpoint
        assert write(server) == 2
        server.restart()
        assert server.endpoint == endpoint
        assert write(server) == 3
        server.kill()
        assert not server.running
        server.start()
        assert write(server) == 4


def test_starting_and_stopping_twice_is_fine() -> None:
    server = pykvd.serve()
    assert not server.running
    server.stop()
    server.start()
    server.start()
    assert server.running
    server.stop()
    server.stop()
    server.close()
    server.close()
    with pytest.raises(RuntimeError, match="the server is closed"):
        server.start()


def test_without_a_port() -> None:
    with pykvd.serve(port=None) as server:
        assert write(server) == 2
        with pytest.raises(RuntimeError, match="no endpoint"):
            _ = server.endpoint


def test_a_port_of_choice(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pykvd.serve(port=port) as server:
        assert server.endpoint == f"127.0.0.1:{port}"
        connect(server).close()


def test_a_configuration(tmp_path: Path) -> None:
    config = pykvd.Config(
        name="mine",
        data_dir=str(tmp_path / "data"),
        listen_client_urls=(pykvd.URL.parse(f"unix://{tmp_path}/socket"),),
        listen_peer_urls=(),
        max_txn_ops=3,
    )
    with pykvd.serve(config) as server:
        assert server.config == config
        assert server.endpoint == f"unix:{tmp_path}/socket"
        assert write(server) == 2
    with pykvd.serve(config, port=0, data_dir=tmp_path / "other") as server:
        assert server.endpoint.startswith("127.0.0.1:")
        assert (server.config.max_txn_ops, server.config.name) == (3, "mine")
    # Nobody wants the peer port of a server that is given a port of its own.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else's, just as well
            taken.bind(("127.0.0.1", 2380))
            taken.listen()
        with pykvd.serve(pykvd.Config(), port=0, data_dir=tmp_path / "third") as server:
            assert write(server) == 2
    assert (tmp_path / "data").is_dir()
    assert (tmp_path / "other").is_dir()


def test_several_servers_at_once() -> None:
    with pykvd.serve() as first, pykvd.serve() as second:
        assert write(first) == 2
        assert write(first) == 3
        assert write(second) == 2
        assert first.endpoint != second.endpoint


async def test_beside_a_running_event_loop() -> None:
    """As in a notebook: the caller's loop runs, the server has its own."""
    with pykvd.serve() as server:
        assert await asyncio.to_thread(write, server) == 2
        assert write(server) == 3


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_ends_without_touching_the_server() -> None:
    with pykvd.serve() as server:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                server.stop()
                server.close()
                for use in (server.start, server.client, lambda: server.endpoint):
                    with pytest.raises(RuntimeError, match="not in its fork"):
                        use()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert Path(server.config.data_dir).is_dir()
        assert write(server) == 2


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_that_lives_on_does_not_keep_the_server_from_restarting() -> None:
    """It has copies of the lock and of the listening socket."""
    with pykvd.serve() as server:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(theirs)
            os.read(ours, 1)  # until the parent is done
            os._exit(0)
        os.close(ours)
        try:
            for _ in range(8):
                server.restart()
                with pykvd.Client(server.endpoint, timeout=20) as client:
                    client.put("k", "v", timeout=5)
        finally:
            os.close(theirs)
            os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"port": "2379"}, TypeError, "port is '2379'"),
        ({"port": True}, TypeError, "port is True"),
        ({"port": 65536}, ValueError, "port is 65536"),
        ({"port": -1}, ValueError, "port is -1"),
        ({"data_dir": 7}, TypeError, "data_dir is 7"),
        ({"config": "file.yaml"}, TypeError, "config is 'file.yaml'"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: dict[str, object], error: type[Exception], said: str
) -> None:
    before = held()
    with pytest.raises(error, match=said):
        pykvd.serve(**arguments)  # type: ignore[arg-type]
    assert held() == before


def test_a_configuration_that_contradicts_itself() -> None:
    config = pykvd.Config(heartbeat_interval=500, election_timeout=500)
    with pytest.raises(ValueError, match="election-timeout"), pykvd.serve(config):
        pass


def test_the_package_shows_its_names() -> None:
    assert set(pykvd.__all__) <= set(dir(pykvd))
    assert pykvd.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pykvd.nothing
