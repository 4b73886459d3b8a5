"""Files of arrays: what comes back, that bytes are the same, and what is refused before it is read."""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from gate.evidence import array_files

KINDS = {"a": "<f4", "b": "|i1"}
HELD = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.array([1, -1], dtype="|i1")}
PLENTY = 10**6


def opened(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(BytesIO(content))


@given(arrays_of.arrays("<f4", arrays_of.array_shapes(min_dims=1, max_dims=4, min_side=0)), st.booleans())
def test_what_was_written_comes_back_bit_for_bit(array: np.ndarray, turned: bool) -> None:
    given_array = array.T if turned else array
    with opened(array_files.written({"a": given_array})) as archive:
        back = array_files.read(archive, {"a": "<f4"}, PLENTY)["a"]
    assert back.shape == given_array.shape
    assert back.tobytes() == np.ascontiguousarray(given_array).tobytes()


def test_the_bytes_are_the_same_every_time_and_numpy_reads_them() -> None:
    content = array_files.written(HELD)
    assert content == array_files.written(HELD)
    with np.load(BytesIO(content)) as held:
        assert held["b"].tolist() == [1, -1]


def test_one_array_is_read_alone() -> None:
    with opened(array_files.written(HELD)) as archive:
        assert array_files.read_one(archive, "b", "|i1", PLENTY).tolist() == [1, -1]
        with pytest.raises(ValueError, match="must hold the array 'c', and holds"):
            array_files.read_one(archive, "c", "|i1", PLENTY)
        with pytest.raises(ValueError, match="at most 20 are read"):
            array_files.read_one(archive, "b", "|i1", 20)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"a": HELD["a"]}, r"must hold the arrays \['a', 'b'\], and holds \['a'\]"),
        (HELD | {"c": HELD["a"]}, "must hold the arrays"),
        (HELD | {"b": np.zeros(2)}, "must be rows of |i1, not float64"),
    ],
)
def test_other_arrays_are_refused(held: dict[str, np.ndarray], reason: str) -> None:
    with opened(array_files.written(held)) as archive, pytest.raises(ValueError, match=reason):
        array_files.read(archive, KINDS, PLENTY)


def test_an_array_twice_is_refused() -> None:
    content = BytesIO(array_files.written(HELD))
    with zipfile.ZipFile(content, "a") as archive:
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", b"")
        with pytest.raises(ValueError, match="an array twice"):
            array_files.read(archive, KINDS, PLENTY)


def test_objects_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        array_files.written({"a": np.array([print], dtype=object)})


def test_sides_are_the_same_wherever_they_are_named() -> None:
    shapes = {"a": ("<f4", "n d"), "b": ("|i1", "n")}
    assert array_files.sides(HELD, shapes) == {"n": 2, "d": 3}
    with pytest.raises(ValueError, match="the side 'n' of 'b' is 3 long, elsewhere 2"):
        array_files.sides(HELD | {"b": np.zeros(3, dtype="|i1")}, shapes)
    with pytest.raises(ValueError, match=r"'b' must be |i1 with the sides n, not int8\[2, 1\]"):
        array_files.sides(HELD | {"b": HELD["b"][:, None]}, shapes)
