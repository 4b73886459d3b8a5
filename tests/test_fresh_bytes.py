"""Random bytes, many at a time: no piece is handed out twice, to no thread and no process."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gate.fresh_bytes import SIZE, fresh_bytes


def test_no_piece_is_handed_out_twice_whoever_asks() -> None:
    with ThreadPoolExecutor(8) as pool:
        pieces = [
            piece for many in pool.map(lambda _: [fresh_bytes() for _ in range(2000)], range(8)) for piece in many
        ]
    assert {len(piece) for piece in pieces} == {SIZE}
    assert len(set(pieces)) == len(pieces) == 16_000


def test_every_bit_is_set_about_half_of_the_time() -> None:
    pieces = [int.from_bytes(fresh_bytes(), "big") for _ in range(2000)]
    set_ = [sum(piece >> bit & 1 for piece in pieces) for bit in range(8 * SIZE)]
    assert all(800 < count < 1200 for count in set_)  # nine standard deviations


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_hands_out_others() -> None:
    fresh_bytes()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"".join(fresh_bytes() for _ in range(100)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100 * SIZE)
    os.close(reading)
    os.close(writing)
    ours = b"".join(fresh_bytes() for _ in range(100))
    pieces = [said[at : at + SIZE] for said in (ours, theirs) for at in range(0, len(said), SIZE)]
    assert len(set(pieces)) == 200
