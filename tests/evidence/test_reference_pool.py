"""The file of a reference pool: what comes back, and what is refused with the file and the reason."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.evidence import reference_pool
from gate.evidence.reference_pool import ReferencePool, question_key
from tests.evidence.pools import two_topics

Arrays = dict[str, Any]


def entries(path: Path) -> Arrays:
    with np.load(path) as held:
        return dict(held)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    two_topics().save(tmp_path / "pool.npz")
    return tmp_path / "pool.npz"


def test_what_was_saved_comes_back(path: Path) -> None:
    pool, known = ReferencePool.load(path), two_topics()
    assert pool == known
    assert hash(pool) == hash(known)
    assert (pool.upstreams, pool.embedder, pool.second_embedder) == (
        ("small", "large"),
        "hashed_ngrams-1-512",
        "hashed_ngrams-1-64",
    )
    for field in fields(ReferencePool):
        np.testing.assert_array_equal(getattr(pool, field.name), getattr(known, field.name))
    assert pool.column("large") == 1
    assert pool.column("other") is None


def test_no_text_of_a_question_or_answer_is_in_the_file(path: Path) -> None:
    content = path.read_bytes()
    assert b"country" not in content
    assert b"Nigeria" not in content


def test_nothing_can_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        two_topics().vectors[0, 0] = 1


def test_a_change_anywhere_changes_the_fingerprint() -> None:
    pool = two_topics()
    crowding = pool.crowding.copy()
    crowding[3] += 0.01
    others = [replace(pool, crowding=crowding), replace(pool, embedder="another")]
    assert len({pool.fingerprint, *(other.fingerprint for other in others)}) == 3
    assert pool != others[0]
    assert pool != "pool"


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name].copy())}


def put(place: object, value: object) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


def relabelled(old: bytes, new: bytes) -> Callable[[Arrays], Arrays]:
    return changed("label", lambda a: np.frombuffer(a.tobytes().replace(old, new), dtype=np.uint8))


BROKEN: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "an array less": (lambda a: {n: x for n, x in a.items() if n != "crowding"}, "must hold the arrays"),
    "an array more": (lambda a: a | {"extra": np.zeros(3)}, "must hold the arrays"),
    "another type": (changed("vectors", lambda a: a.astype(np.float64)), "must be rows of <f4"),
    "another shape": (changed("keys", lambda a: a[:-1]), "the side 'n' of"),
    "flat vectors": (changed("vectors", np.ravel), "with the sides n d"),
    "columns first": (changed("vectors", np.asfortranarray), "must be rows of <f4"),
    "no unit vector": (changed("vectors", lambda a: a * 2), "'vectors' holds"),
    "not a number": (changed("vectors", put((0, 0), np.nan)), "'vectors' holds"),
    "a question twice": (changed("keys", put(0, two_topics().keys[1])), "'keys' holds"),
    "no such fold": (changed("folds", put(0, 5)), "'folds' holds"),
    "no such cluster": (changed("clusters", put(0, 10**6)), "'clusters' holds"),
    "more than right": (changed("correct", put((0, 0), 2)), "'correct' holds"),
    "no label at all": (changed("correct", put((slice(None), 0), np.nan)), "'correct' holds"),
    "a judgement without a label": (changed("predicted_right", put((0, 0, 0), -1)), "'predicted_right' holds"),
    "a run below none": (changed("similarity", put((0, 0), -2)), "'similarity' holds"),
    "a distance below none": (changed("nearest", put((0, 0), -1)), "'nearest' holds"),
    "no trait": (changed("skill_projection", lambda a: a[:, :0]), "the side 'r'"),
    "an endless weight": (changed("skill_loadings", put((0, 0, 0), np.inf)), "'skill_loadings' holds"),
    "an endless text weight": (changed("text_weights", put((0, 0, 0), np.nan)), "'text_weights' holds"),
    "an endless level": (changed("text_intercepts", put((0, 0), np.inf)), "'text_intercepts' holds"),
    "text weights too short": (changed("text_weights", lambda a: a[:, :, 1:]), "do not go together"),
    "tampered with": (changed("text_weights", put((0, 0, 0), 9)), "its fingerprint differs"),
    "another version": (relabelled(b'"version":1', b'"version":2'), "version: "),
    "a stranger's key": (relabelled(b'"version":1', b'"version":1,"x":1'), "x: Extra"),
    "no label": (changed("label", lambda a: a[:5]), "label: Invalid JSON"),
    "another upstream": (relabelled(b'"small"', b'"large"'), "columns for the upstreams"),
    "upstreams too few": (relabelled(b'"small",', b""), "2 columns for the upstreams"),
    "no second": (relabelled(b'"hashed_ngrams-1-64"', b"null"), "go together"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_name_and_the_reason(case: str, path: Path) -> None:
    change, reason = BROKEN[case]
    np.savez(path, **change(entries(path)))
    with pytest.raises(ConfigError, match=reason) as caught:
        ReferencePool.load(path)
    assert caught.value.where == str(path)


def test_what_would_have_to_be_executed_is_not(path: Path) -> None:
    np.savez(path, **(entries(path) | {"keys": np.array([print], dtype=object)}), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"'keys\.npy' must be rows of <u8"):
        ReferencePool.load(path)


def test_a_header_that_promises_more_than_there_is_is_refused(path: Path) -> None:
    arrays = entries(path)
    content = BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 512)})
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            written = BytesIO()
            np.save(written, array)
            archive.writestr(f"{name}.npy", content.getvalue() if name == "vectors" else written.getvalue())
    with pytest.raises(ConfigError, match="has 0 bytes for the shape"):
        ReferencePool.load(path)


def test_a_file_too_large_is_refused_before_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_pool, "LARGEST", 1000)
    with pytest.raises(ConfigError, match="too large"):
        ReferencePool.load(path)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_archive_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a usable reference pool"):
        ReferencePool.load(path)


def test_a_file_cut_short_or_with_a_flipped_bit_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for broken in (content[:-400], content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]):
        path.write_bytes(broken)
        with pytest.raises(ConfigError, match="not a usable reference pool"):
            ReferencePool.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pool\.npz: cannot read the reference pool: No such file"):
        ReferencePool.load(tmp_path / "pool.npz")


@given(st.text(max_size=8), st.sampled_from([" ", "\n", "\t  "]))
def test_a_question_is_the_same_whatever_its_spacing(text: str, space: str) -> None:
    key = question_key(f"Where is {text}?")
    assert key == question_key(f" where  IS {text}?{space}")
    assert 0 <= key < 2**64
    assert key != question_key(f"Where was {text}?")


def test_half_of_a_surrogate_pair_has_a_key() -> None:
    assert question_key("\ud800") != question_key("\ud801")
