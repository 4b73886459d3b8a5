"""Probes at run time and their file: who reads which question, what comes back, and what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.evidence import array_files, probes
from gate.evidence.probes import PROBES, Probes, RoundProbes
from gate.hidden_states.layout import Layout
from tests.evidence.probed import LAYOUT, MODEL, ROUND, SIZE, block, drawn, flat, levels

Arrays = dict[str, Any]
SOME = levels(0, 1, 2, 3, 4, 5)


def entries(held: Probes) -> Arrays:
    with np.load(BytesIO(held.dump())) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("question", "part"), [("new", 0), ("q0", 1), ("q4", 5), (" Q4\n", 5), ("q5", 0)])
def test_a_question_that_was_fitted_on_is_read_by_the_model_that_never_saw_it(question: str, part: int) -> None:
    assert SOME.read(ROUND, question, block()) == {"linear": part}


def test_all_probes_that_were_fitted_read_a_block_and_the_rest_say_nothing() -> None:
    rng = np.random.default_rng(0)
    all_of_them = RoundProbes(MODEL, LAYOUT, {name: drawn(rng, name) for name in PROBES})
    two = Probes(SOME.keys, SOME.folds, {"a": all_of_them, "b": SOME.rounds[ROUND]})
    one = block(rng.normal(size=SIZE))
    assert list(two.read("a", "new", one)) == list(PROBES)
    assert list(two.read("b", "new", one)) == ["linear"]
    one.stability[1, 2] = np.nan
    assert list(two.read("a", "new", one)) == [name for name in PROBES if name != "stability"]


@pytest.mark.parametrize(
    ("round_key", "one", "reason"),
    [
        ("large/closed_book", block(), r"no probes for 'large/closed_book', only for \['small/closed_book'\]"),
        (ROUND, block(model="another"), f"fitted for the weights {MODEL}, and the answer is by another"),
        (ROUND, block(layout=Layout(4, 6, (1, 4))), r"for the layers \(2, 4\), and the states are of layers \(1, 4\)"),
        (ROUND, block(layout=Layout(5, 6, (2, 4))), "for the depth 4, and the states are of depth 5"),
        (ROUND, block(layout=Layout(4, 7, (2, 4))), "for the width 6, and the states are of width 7"),
        (ROUND, block(np.nan), "not finite"),
    ],
)
def test_what_the_probes_were_not_fitted_for_is_refused_with_the_reason(round_key: str, one: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SOME.read(round_key, "q", one)


@given(st.integers(0, 2**32), st.lists(st.sampled_from(PROBES), min_size=1, unique=True))
def test_what_was_written_comes_back_and_reads_the_same(seed: int, names: list[Any]) -> None:
    rng = np.random.default_rng(seed)
    held = {name: drawn(rng, name) for name in PROBES if name in names}
    known = Probes(SOME.keys, SOME.folds, {"é/closed_book": RoundProbes(MODEL, LAYOUT, held)})
    back = Probes.of_bytes(known.dump(), "here")
    assert (back, hash(back), back.dump()) == (known, hash(known), known.dump())
    one = block(rng.normal(size=SIZE))
    for question in ("q1", "new"):
        assert back.read("é/closed_book", question, one) == known.read("é/closed_book", question, one)


def test_a_file_comes_back(tmp_path: Path) -> None:
    SOME.save(tmp_path / "probes.npz")
    assert Probes.load(tmp_path / "probes.npz") == SOME
    assert (tmp_path / "probes.npz").read_bytes() == SOME.dump()


def test_a_change_anywhere_changes_the_fingerprint() -> None:
    held = SOME.rounds[ROUND]
    others = [
        levels(0, 1, 2, 3, 4, 6),
        Probes(SOME.keys + np.uint64(1), SOME.folds, {ROUND: held}),
        Probes(SOME.keys, SOME.folds[::-1].copy(), {ROUND: held}),
        Probes(SOME.keys, SOME.folds, {"large/closed_book": held}),
        Probes(SOME.keys, SOME.folds, {ROUND: RoundProbes("another", LAYOUT, held.probes)}),
    ]
    assert len({SOME.fingerprint, *(other.fingerprint for other in others)}) == 6
    assert others[0] != SOME
    assert SOME != "probes"


def test_nothing_can_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SOME.keys[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        SOME.rounds[ROUND].probes["linear"].intercepts[0] = 1
    with pytest.raises(TypeError):
        SOME.rounds["x"] = SOME.rounds[ROUND]  # type: ignore[index]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({}, "in that order, not"),
        ({"stability": flat(*range(6)), "linear": flat(*range(6))}, "in that order"),
        ({"lineal": flat(*range(6))}, "in that order"),
        ({"contrastive": flat(*range(6))}, "'contrastive' must be a EncoderProbe"),
        ({"semantic_entropy": flat(*range(6))}, r"must have p = 6 and g, q = \(1, 24\)"),
    ],
)
def test_probes_that_do_not_go_together_are_refused(held: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RoundProbes(MODEL, LAYOUT, held)


def test_probes_for_no_round_are_none() -> None:
    with pytest.raises(ValueError, match="no round"):
        Probes(SOME.keys, SOME.folds, {})


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name].copy())}


def put(place: object, value: object) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


def relabelled(old: bytes, new: bytes) -> Callable[[Arrays], Arrays]:
    return changed("label", lambda a: np.frombuffer(a.tobytes().replace(old, new), dtype=np.uint8))


WEIGHTS = "0.linear.weights"
BROKEN: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "an array less": (lambda a: {n: x for n, x in a.items() if n != WEIGHTS}, "must hold the arrays"),
    "an array more": (lambda a: a | {"extra": np.zeros(3)}, "must hold the arrays"),
    "no label at all": (lambda a: {n: x for n, x in a.items() if n != "label"}, "must hold the array 'label'"),
    "another type": (changed(WEIGHTS, lambda a: a.astype(np.float64)), "must be rows of <f4"),
    "a value less": (changed(WEIGHTS, lambda a: a[:, :, :-1]), "the side 'q' of"),
    "a part less": (lambda a: {n: x[:5] if n[0] == "0" else x for n, x in a.items()}, "must have p = 6"),
    "an endless weight": (changed(WEIGHTS, put((0, 0, 0), np.inf)), r"'linear\.weights' holds"),
    "an intercept that is no number": (changed("0.linear.intercepts", put(0, np.nan)), r"'linear\.intercepts' holds"),
    "a deviation below zero": (changed("0.linear.gain", put((0, 0, 0), -1)), r"'linear\.gain' holds"),
    "a question twice": (changed("keys", put(0, SOME.keys[1])), "'keys' must hold"),
    "no question": (lambda a: a | {"keys": a["keys"][:0], "folds": a["folds"][:0]}, "'keys' must hold"),
    "a fold less": (changed("folds", lambda a: a[:-1]), "the side 'n' of 'folds' is 4 long"),
    "no such fold": (changed("folds", put(0, 5)), "'folds' must hold"),
    "a fold below none": (changed("folds", put(0, -1)), "'folds' must hold"),
    "tampered with": (changed(WEIGHTS, put((0, 0, 0), 9)), "their fingerprint differs"),
    "questions moved": (changed("folds", lambda a: a[::-1]), "their fingerprint differs"),
    "another model": (relabelled(MODEL.encode(), b"f" * 16), "their fingerprint differs"),
    "another width": (relabelled(b'"width":6', b'"width":5'), "must have p = 6 and g, q"),
    "layers it has not": (relabelled(b'"layers":[2,4]', b'"layers":[2,9]'), "layers 1 to 4"),
    "another version": (relabelled(b'"version":1', b'"version":2'), "version: "),
    "a stranger's key": (relabelled(b'"version":1', b'"version":1,"x":1'), "x: Extra"),
    "a stranger's probe": (relabelled(b'["linear"]', b'["lineal"]'), r"rounds\.0\.probes\.0: Input should be"),
    "no probe": (relabelled(b'["linear"]', b"[]"), "should have at least 1 item"),
    "a label cut short": (changed("label", lambda a: a[:5]), "label: Invalid JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_name_and_the_reason(case: str, tmp_path: Path) -> None:
    change, reason = BROKEN[case]
    path = tmp_path / "probes.npz"
    path.write_bytes(array_files.written(change(entries(SOME))))
    with pytest.raises(ConfigError, match=reason) as caught:
        Probes.load(path)
    assert caught.value.where == str(path)


def test_a_round_twice_is_refused() -> None:
    twice = entries(Probes(SOME.keys, SOME.folds, {ROUND: SOME.rounds[ROUND], "x/closed_book": SOME.rounds[ROUND]}))
    content = array_files.written(relabelled(b"x/closed_book", ROUND.encode())(twice))
    with pytest.raises(ConfigError, match="here: not usable probes: it holds a round twice"):
        Probes.of_bytes(content, "here")


def test_layers_that_do_not_fit_together_in_a_network_are_refused() -> None:
    network = RoundProbes(MODEL, LAYOUT, {"contrastive": drawn(np.random.default_rng(0), "contrastive")})
    held = entries(Probes(SOME.keys, SOME.folds, {ROUND: network}))
    content = array_files.written(changed("0.contrastive.joint", lambda a: a[:, :, :-1])(held))
    with pytest.raises(ConfigError, match="j must be g k"):
        Probes.of_bytes(content, "here")


def test_what_would_have_to_be_executed_is_not(tmp_path: Path) -> None:
    path = tmp_path / "probes.npz"
    np.savez(path, **(entries(SOME) | {"keys": np.array([print], dtype=object)}), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"'keys\.npy' must be rows of <u8"):
        Probes.load(path)


def test_a_file_cut_short_anywhere_or_with_a_flipped_bit_is_refused() -> None:
    content = SOME.dump()
    flipped = content.index(SOME.rounds[ROUND].probes["linear"].intercepts.tobytes()) + 6
    broken = [content[:length] for length in range(0, len(content), 97)]
    for one in (*broken, content[:flipped] + bytes([content[flipped] ^ 1]) + content[flipped + 1 :]):
        with pytest.raises(ConfigError, match="not usable probes"):
            Probes.of_bytes(one, "here")


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SOME.save(tmp_path / "probes.npz")
    monkeypatch.setattr(probes, "LARGEST", 1000)
    with pytest.raises(ConfigError, match="at most 1000 are read"):
        Probes.load(tmp_path / "probes.npz")
    with pytest.raises(ConfigError, match="at most 1000 are read"):
        Probes.of_bytes(SOME.dump(), "here")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"probes\.npz: cannot read the probes: No such file"):
        Probes.load(tmp_path / "probes.npz")
