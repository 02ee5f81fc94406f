"""A TCP relay whose server's answers can be altered or held up."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.harness import Server


@contextmanager
def relayed(server: Server, answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """`host:port` of a relay to the server for one client after the other.

    `answer` is given what the server sends and returns what the client gets; it may block.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sockets: list[socket.socket] = []
        thread = threading.Thread(target=_serve, args=(listener, server, answer, sockets))
        thread.daemon = True
        thread.start()
        host, port = listener.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()


def _serve(
    listener: socket.socket,
    server: Server,
    answer: Callable[[bytes], bytes],
    sockets: list[socket.socket],
) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(("127.0.0.1", server.client_port))
            sockets += [client, upstream]
            for pair in ((client, upstream, bytes), (upstream, client, answer)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(change(piece))
        target.shutdown(socket.SHUT_WR)
