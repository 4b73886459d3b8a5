"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gate.errors import ConfigError


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which stands at ``path`` once the block ends without an error, and nowhere before.

    Raises `ConfigError` where something stands there already (unless ``overwrite``), and where it cannot be written.
    """
    target = path.resolve()
    refuse_standing(path, overwrite=overwrite)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("xb")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        refuse_standing(path, overwrite=overwrite)
        partial.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def refuse_standing(path: Path, *, overwrite: bool) -> None:
    """Raise `ConfigError` where something stands that must not be written over: before the work, not after it."""
    if path.is_dir():
        raise ConfigError("a folder of this name stands there: name a file", where=str(path))
    if path.exists() and not overwrite:
        raise ConfigError("this file exists and is not written over: move it, or allow --overwrite", where=str(path))


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write this file: {error.strerror or error}", where=str(path))
