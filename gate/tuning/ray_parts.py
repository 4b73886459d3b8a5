"""The parts of a log in a Ray cluster, by Ray Data: each node reads its own lines, and writes what came of them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from gate.errors import ConfigError, MissingExtra
from gate.tuning.joining import AUTO, join
from gate.tuning.parts import ACROSS, Part, Work, try_to_finish


def finish_on_ray(todo: list[Part], work: Work, folder: Path, on: str, progress: Callable[[], None]) -> None:
    """Do the work on these parts, several at a time, in no order. Only numbers and reasons go to and fro.

    Raises `ConfigError` for the first part that cannot be done, once the others are; and where there is no cluster.
    """
    held = pickle.dumps((work, folder))

    def one(row: dict[str, Any]) -> dict[str, Any]:
        work, folder = pickle.loads(held)  # noqa: S301 - what this process has made
        return {"number": row["number"], "fault": try_to_finish(Part(**row), work, folder)}

    fields = ("log", "number", "first_line", "offset", "length", "digest")
    rows = [{name: getattr(part, name) for name in fields} for part in todo]
    faults: list[tuple[int, str]] = []
    for row in done_on_ray(rows, one, on):
        if row["fault"]:
            faults.append((row["number"], row["fault"]))
        progress()
    if faults:
        raise ConfigError(min(faults)[1])


def done_on_ray(rows: list[dict[str, Any]], do: Callable[[dict[str, Any]], dict[str, Any]], on: str) -> Iterator[Any]:
    """What this makes of each row, in no order: each is work of its own, several are done at a time. Flat plain values.

    Raises `ConfigError` where there is no cluster.
    """
    ray = joined(on)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with redirect_stdout(sys.stderr):  # Ray prints there that a worker died; a command prints its result there
        yield from ray.data.from_items(rows, override_num_blocks=len(rows)).map(do).iter_rows()


def joined(on: str) -> Any:
    """Ray, of which this process has joined the cluster. Raises `ConfigError`, `MissingExtra`."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    join(ray, AUTO if on == ACROSS else on)
    return ray
