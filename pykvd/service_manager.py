"""Tells systemd how the service is (sd_notify(3)); does nothing where nobody asked for it."""

import os
import socket

from pykvd.logs import get_logger

READY = "READY=1"
STOPPING = "STOPPING=1"

_log = get_logger("server")


def notify(state: str) -> bool:
    """Send a state to the socket that NOTIFY_SOCKET names; whether it was sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError as error:
        _log.warn("failed to notify init daemon", state=state, error=error)
        return False
    return True
