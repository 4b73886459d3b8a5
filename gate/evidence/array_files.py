"""Arrays in one ``.npz`` file: written the same every time, and read without trusting what stands in it.

Nothing in a file is executed (no pickle), and no more is read than its directory says it holds.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
FAULTS = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError)
"""What reading raises for a file that is not as it should be. `OSError` says that there is none."""


def written(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The content of a file of these arrays: the same bytes for the same arrays, for no date is in it."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            file = BytesIO()
            np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), file.getvalue())
    return content.getvalue()


def read(archive: zipfile.ZipFile, kinds: Mapping[str, str], most: int) -> Arrays:
    """Arrays by name, which must be those of ``kinds``, name → type, and have at most ``most`` bytes together.

    Each is read only after its header was found to fit what is there. Raises one of `FAULTS`.
    """
    listed = _listed(archive, most)
    if listed.keys() != kinds.keys():
        raise ValueError(f"it must hold the arrays {sorted(kinds)}, and holds {sorted(listed)}")
    return {name: _array(archive, info, kinds[name]) for name, info in listed.items()}


def read_one(archive: zipfile.ZipFile, name: str, kind: str, most: int) -> npt.NDArray[Any]:
    """One array of a file that may hold others, which together have at most ``most`` bytes. Raises one of `FAULTS`."""
    listed = _listed(archive, most)
    if name not in listed:
        raise ValueError(f"it must hold the array {name!r}, and holds {sorted(listed)}")
    return _array(archive, listed[name], kind)


def sides(arrays: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """How long each named side is. ``shapes`` gives type and sides: a name is the same number wherever it stands.

    Raises ValueError where an array has another type, or sides disagree.
    """
    found: dict[str, int] = {}
    for name, (kind, named) in shapes.items():
        array, wanted = arrays[name], named.split()
        if array.dtype != np.dtype(kind) or array.ndim != len(wanted):
            raise ValueError(f"{name!r} must be {kind} with the sides {named}, not {array.dtype}{list(array.shape)}")
        for side, length in zip(wanted, array.shape, strict=True):
            if found.setdefault(side, length) != length:
                raise ValueError(f"the side {side!r} of {name!r} is {length} long, elsewhere {found[side]}")
    return found


def _listed(archive: zipfile.ZipFile, most: int) -> dict[str, zipfile.ZipInfo]:
    listed = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(listed) != len(archive.infolist()):
        raise ValueError("it holds an array twice")
    if (size := sum(info.file_size for info in listed.values())) > most:
        raise ValueError(f"it is too large: {size} bytes, and at most {most} are read")
    return listed


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, kind: str) -> npt.NDArray[Any]:
    with archive.open(info) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{info.filename!r} is not in version 1.0 of the array format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        content = file.read()
    if dtype != np.dtype(kind) or fortran:
        raise ValueError(f"{info.filename!r} must be rows of {kind}, not {dtype}")
    if len(content) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{info.filename!r} has {len(content)} bytes for the shape {shape}")
    return np.frombuffer(content, dtype=dtype).reshape(shape)
