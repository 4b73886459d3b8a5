"""Joining a Ray cluster: where it is asked for, whether anybody listens there, and what it says of whoever it refuses.

Ray itself waits for minutes where nobody answers, and says the same of a wrong token as of no cluster at all.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from gate.errors import ConfigError

AUTO = "auto"
"""The cluster of this machine."""
CLIENT = "ray://"
"""Of the address of Ray Client, which is spoken from outside a cluster."""


def place_of(address: str) -> tuple[str, int] | None:
    """Host and port; None for the cluster of this machine, where Ray knows it. Raises `ConfigError`."""
    said = os.environ.get("RAY_ADDRESS", "") if address == AUTO else address
    if said in {"", AUTO, "local"}:
        return None
    host, _, port = said.removeprefix(CLIENT).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 2**16:
        raise ConfigError(f"this is no address of a Ray cluster: {said!r}; give host:port, {CLIENT}host:port or {AUTO}")
    return host, int(port)


def join(ray: Any, address: str, *, seconds: float = 10, **options: Any) -> None:
    """Have this process join the cluster at an address, unless it has joined one. ``ray`` is the package.

    ``seconds``: the longest to wait for somebody to listen there. Raises `ConfigError`.
    """
    if ray.is_initialized():
        return
    place = place_of(address)
    none = "there is no Ray cluster here: start one with 'ray start --head', where nobody else reaches its ports"
    if place is not None:
        none = f"there is no Ray cluster at {address}" if address != AUTO else f"there is none at {place[0]}:{place[1]}"
        try:
            socket.create_connection(place, timeout=seconds).close()
        except UnicodeError as error:
            raise ConfigError(f"{none}: {place[0]!r} is no name of a machine") from error
        except OSError as error:
            raise ConfigError(f"{none}: {error.strerror or 'nobody answers'}") from error
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if place is not None:
            none = f"what answers at {place[0]}:{place[1]} does not take this process in: is it a Ray cluster of the "
            none += f"same version, RAY_AUTH_TOKEN its token, and (but for {CLIENT}) this machine one of its nodes?"
        raise ConfigError(none) from error
