"""Where an embedded server is: its configuration with a real directory and port."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, TypeAlias

from pykvd.config.config import Config
from pykvd.config.member import DEFAULT_PEER_URLS
from pykvd.config.urls import URL

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535

Port: TypeAlias = int | EllipsisType | None
PathLike: TypeAlias = str | os.PathLike[str]


class ReservedPort:
    """A free TCP port of the loopback address that stays ours while no server listens on it.

    A socket is bound to it and never listens; the server binds beside it with SO_REUSEPORT. So a
    server can be told its port before it starts, and finds it again when it restarts.
    """

    def __init__(self, number: int = 0) -> None:
        """`number` asks for a certain port; raises OSError where somebody else has it."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            self._socket.bind((LOOPBACK, number))
        except OSError:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]
        self.url = URL.parse(f"http://{LOOPBACK}:{self.number}")

    def release(self) -> None:
        """Give the port back."""
        self._socket.close()


class Place:
    """Owns what an embedded server was not given: a temporary directory, a free port.

    config: ready for `pykvd.embed.Server`.

    Without a `config` the directory is a temporary one unless `data_dir` is given, the server
    listens on `port` of the loopback address (0: a free one, None: nowhere) and not for peers, and
    nothing is synced to a disk that is emptied at the end. With one, only what is given here as
    well is changed in it; a lone member whose `port` is given does not listen for peers at the
    default address either. `...` stands for a port that is not given.
    """

    def __init__(self, config: Config | None, data_dir: PathLike | None, port: Port) -> None:
        check_arguments(config, data_dir)
        _check_port(port)
        self.closed = False
        self._release: list[Callable[[], object]] = []
        if config is None:
            config = Config(listen_peer_urls=(), unsafe_no_fsync=data_dir is None)
            if data_dir is None:
                remove, data_dir = temporary_directory(self)
                self._release.append(remove)
            port = 0 if port is ... else port
        if data_dir is not None:
            config = replace(config, data_dir=os.fspath(data_dir))
        if port is not ...:
            config = self._listen(config, port)
        self.config = config

    def _listen(self, config: Config, port: int | None) -> Config:
        chosen = config.initial_cluster_is_chosen or config.discovers
        lone = not chosen and config.initial_cluster_state == "new"
        if lone and config.listen_peer_urls == DEFAULT_PEER_URLS:
            config = replace(config, listen_peer_urls=())
        if port is None:
            return replace(config, listen_client_urls=(), advertise_client_urls=())
        if port == 0:
            reserved = ReservedPort()
            self._release.append(reserved.release)
            config = replace(config, socket_reuse_port=True)
            url = reserved.url
        else:
            url = URL.parse(f"http://{LOOPBACK}:{port}")
        return replace(config, listen_client_urls=(url,), advertise_client_urls=(url,))

    def close(self) -> None:
        """Remove the temporary directory, release the port; again is fine."""
        self.closed = True
        while self._release:
            self._release.pop()()


def check_arguments(config: object, data_dir: object) -> None:
    """Raise TypeError that names the argument that cannot be used."""
    if config is not None and not isinstance(config, Config):
        raise TypeError(f"config is {config!r}: expected a pykvd.Config")
    if data_dir is not None and not isinstance(data_dir, str | os.PathLike):
        raise TypeError(f"data_dir is {data_dir!r}: expected a path")


def _check_port(port: object) -> None:
    if port is None or port is ...:
        return
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port is {port!r}: expected a number, or None for no port")
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"port is {port}: expected 0 to {MAX_PORT}")


def temporary_directory(owner: object) -> tuple[Callable[[], object], str]:
    """What removes it, and a new directory that is gone with `owner` at the latest."""
    path = tempfile.mkdtemp(prefix="pykvd-")
    return weakref.finalize(owner, _remove, path, os.getpid()), path


def _remove(path: str, owner: int) -> None:
    # A fork that ends inherits the finalizer, but not the directory.
    if os.getpid() == owner:
        shutil.rmtree(Path(path), ignore_errors=True)
