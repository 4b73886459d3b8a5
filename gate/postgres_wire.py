"""A connection to PostgreSQL that says nothing any more, and is waited for."""

from __future__ import annotations

import os
import socket
from typing import Any


def sever(connection: Any) -> None:
    """End a psycopg connection under whoever waits on it, on any thread: to them it is as if the other end had. Nothing
    where it is closed."""
    from psycopg import Error

    try:
        number = os.dup(connection.fileno())
    except (OSError, Error):  # closed, perhaps a moment ago
        return
    try:
        held = socket.socket(fileno=number)
    except OSError:
        os.close(number)
        return
    with held:
        try:
            held.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other end was quicker
            return
