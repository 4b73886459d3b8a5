"""Tell systemd how the service is (``Type=notify``): a datagram to the socket it names, nothing where it names none.

The protocol is sd_notify(3): ``READY=1``, ``STOPPING=1``, ``STATUS=…``.
"""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Whether it was told. That nobody listens is no reason to fail."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):  # of the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), address)
    except OSError:
        return False
    return True
