"""Random bytes that nobody guesses, fetched many at a time: asking the kernel for each id took longer than a signal."""

from __future__ import annotations

import os
from collections import deque

SIZE = 16
"""Bytes of one piece."""
_PIECES = 256
_held: deque[bytes] = deque()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # no two processes hand out the same


def fresh_bytes() -> bytes:
    """`SIZE` bytes that were handed out to nobody else. Safe to share between threads."""
    while True:
        try:
            return _held.popleft()
        except IndexError:
            block = os.urandom(SIZE * _PIECES)
            _held.extend(block[at : at + SIZE] for at in range(0, len(block), SIZE))
