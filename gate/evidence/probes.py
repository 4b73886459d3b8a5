"""Probes: what the internal states of an upstream say about its answer being right, fitted offline, read at run time.

A probe file is one ``.npz`` that holds only arrays (no pickle) and a label. It is fitted by `gate.tuning.probes`. All
that it holds is the weights of small models, means and deviations of what they read, the identity of the upstream's
weights, and a hash of every question they were fitted on, with its fold. No question, answer or state of one is in it.
**Still, it tells something**: whoever guesses a question can check by its hash whether it was fitted on. Weights are
made of all questions together; nobody should be able to read one back from them, but a label of one could be guessed at
a little better by who has the states of the answer and compares the models with and without its fold.

Everything is *cross-fitted*, as in a reference pool: the questions are parted into folds, and beside the model of the
whole there is one for each fold that never saw the questions of that fold. A question that was fitted on is read by the
model of its fold, so what a calibrator is fitted on is what it meets later.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import ConfigError
from gate.evidence import array_files
from gate.evidence.probe_models import KINDS, EncoderProbe, Floats, Probe, arrays, features, sides_of
from gate.evidence.reference_pool import WHOLE, question_key
from gate.hidden_states.block import Block
from gate.hidden_states.layout import Layout

Name = Literal["linear", "contrastive", "stability", "semantic_entropy", "certain_error", "attention"]
PROBES: tuple[Name, ...] = get_args(Name)
VERSION: Literal[1] = 1
FOLDS = 5
PARTS = FOLDS + 1
"""The model of all questions is at `WHOLE` = 0, that of fold f at ``f + 1``."""
LARGEST = 2**28
"""Bytes a probe file may have."""


class _Round(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1)
    model: str = Field(min_length=1)
    depth: int
    width: int
    layers: tuple[int, ...]
    probes: tuple[Name, ...] = Field(min_length=1)


class _Label(BaseModel):
    """What a probe file says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    rounds: tuple[_Round, ...] = Field(min_length=1)
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class RoundProbes:
    """The probes of one round. Raises ValueError for arrays that do not fit the layout or are no numbers."""

    model: str
    """The identity of the weights they were fitted for: `gate.hidden_states.block.identity`."""
    layout: Layout
    probes: Mapping[Name, Probe]
    """By name, of `PROBES`, in that order; those that could be fitted."""

    def __post_init__(self) -> None:
        if not self.probes or [name for name in PROBES if name in self.probes] != list(self.probes):
            raise ValueError(f"a round has probes of {list(PROBES)}, in that order, not {list(self.probes)}")
        for name, probe in self.probes.items():
            _check(name, probe, sides_of(name, self.layout))
        object.__setattr__(self, "probes", MappingProxyType(dict(self.probes)))

    def check(self, block: Block) -> None:
        """Raises ValueError for a block of other weights or other layers than these were fitted for."""
        if block.model != self.model:
            raise ValueError(f"the probes were fitted for the weights {self.model}, and the answer is by {block.model}")
        for what in ("layers", "depth", "width"):
            fitted, got = getattr(self.layout, what), getattr(block.layout, what)
            if fitted != got:
                raise ValueError(f"the probes were fitted for the {what} {fitted}, and the states are of {what} {got}")


@dataclass(frozen=True, eq=False)
class Probes:
    """Probes for any number of rounds. Raises ValueError unless it all fits.

    Arrays must not be written to. Two are equal when their fingerprints are.
    """

    keys: npt.NDArray[np.uint64]
    """[n]: `gate.evidence.reference_pool.question_key` of each question that was fitted on, no two the same."""
    folds: npt.NDArray[np.int8]
    """[n]: the fold of each."""
    rounds: Mapping[str, RoundProbes]
    """By `gate.types.Stage.round_key`."""

    def __post_init__(self) -> None:
        sides = array_files.sides(
            {"keys": self.keys, "folds": self.folds}, {"keys": ("<u8", "n"), "folds": ("|i1", "n")}
        )
        if not sides["n"] or len(np.unique(self.keys)) < sides["n"]:
            raise ValueError("'keys' must hold hashes of questions, no two the same")
        if self.folds.min() < 0 or self.folds.max() >= FOLDS:
            raise ValueError(f"'folds' must hold numbers from 0 to {FOLDS - 1}")
        if not self.rounds:
            raise ValueError("it holds probes for no round")
        object.__setattr__(self, "rounds", MappingProxyType(dict(self.rounds)))
        for array in self._arrays().values():
            array.flags.writeable = False

    def read(self, round_key: str, question: str, block: Block) -> dict[str, float]:
        """Log-odds of the answer being right by each probe that was fitted and whose part of the block is there.

        Raises ValueError, with a plain reason, for a round without probes, and a block of another model or layout.
        """
        held = self.rounds.get(round_key)
        if held is None:
            raise ValueError(f"there are no probes for {round_key!r}, only for {sorted(self.rounds)}")
        held.check(block)
        part = self._parts.get(question_key(question), WHOLE)
        values = {name: features(name, block) for name in held.probes}
        return {name: held.probes[name].log_odds(part, x) for name, x in values.items() if x is not None}

    @cached_property
    def _parts(self) -> dict[int, int]:
        return dict(zip(self.keys.tolist(), (self.folds.astype(int) + 1).tolist(), strict=True))

    # --- the file ------------------------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        held = {
            _entry(place, name, part): array
            for place, each in enumerate(self.rounds.values())
            for name, probe in each.probes.items()
            for part, array in arrays(probe).items()
        }
        return {"keys": self.keys, "folds": self.folds, **held}

    def _said(self) -> tuple[_Round, ...]:
        return tuple(
            _Round(
                key=key,
                model=each.model,
                depth=each.layout.depth,
                width=each.layout.width,
                layers=each.layout.layers,
                probes=tuple(each.probes),
            )
            for key, each in self.rounds.items()
        )

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of a hash over everything that is in it."""
        digest = hashlib.sha256(json.dumps([VERSION, [said.model_dump() for said in self._said()]]).encode())
        for name, array in self._arrays().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Probes) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def dump(self) -> bytes:
        """The content of a probe file: the same bytes for the same probes."""
        label = _Label(version=VERSION, rounds=self._said(), fingerprint=self.fingerprint)
        return array_files.written(
            {"label": np.frombuffer(label.model_dump_json().encode(), dtype=np.uint8), **self._arrays()}
        )

    def save(self, path: Path) -> None:
        path.write_bytes(self.dump())

    @classmethod
    def load(cls, path: Path) -> Probes:
        """Read a probe file. Raises `ConfigError` naming the file and what is wrong. Nothing in it is executed."""
        try:
            if (size := path.stat().st_size) > LARGEST:
                raise ConfigError(f"not usable probes: {size} bytes, and at most {LARGEST} are read", where=str(path))
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read the probes: {error.strerror or error}", where=str(path)) from error
        return cls.of_bytes(content, str(path))

    @classmethod
    def of_bytes(cls, content: bytes, where: str) -> Probes:
        """Of the content of a probe file that is kept at ``where``. Raises `ConfigError` as `load` does."""
        try:
            with zipfile.ZipFile(BytesIO(content)) as archive:
                written = array_files.read_one(archive, "label", "|u1", LARGEST)
                label = _Label.model_validate_json(written.tobytes())
                held = array_files.read(archive, _kinds(label.rounds), LARGEST)
            made = cls(held["keys"], held["folds"], _rounds(label.rounds, held))
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'label'}: {first['msg']}"
            raise ConfigError(f"not usable probes: {reason}", where=where) from error
        except array_files.FAULTS as error:
            raise ConfigError(f"not usable probes: {error}", where=where) from error
        if made.fingerprint != label.fingerprint:
            raise ConfigError("the probes are not as they were saved: their fingerprint differs", where=where)
        return made


def _check(name: str, probe: Probe, expected: tuple[int, int]) -> None:
    if type(probe) is not KINDS[name]:
        raise ValueError(f"{name!r} must be a {KINDS[name].__name__}")
    held = arrays(probe)
    sides = array_files.sides(held, {part: ("<f4", named) for part, named in probe.SHAPES.items()})
    if sides["p"] != PARTS or (sides["g"], sides["q"]) != expected or min(sides.values()) < 1:
        raise ValueError(f"{name!r} has the sides {sides}, and must have p = {PARTS} and g, q = {expected}")
    if isinstance(probe, EncoderProbe) and sides["j"] != sides["g"] * sides["k"]:
        raise ValueError(f"{name!r} has the sides {sides}, and j must be g k")
    for part, array in held.items():
        if not np.isfinite(array).all() or (part == "gain" and array.min() < 0):
            raise ValueError(f"{name + '.' + part!r} holds values that cannot be")


def _entry(place: int, name: str, part: str) -> str:
    """What an array is called in the file: the place of its round, its probe, its name."""
    return f"{place}.{name}.{part}"


def _kinds(rounds: Iterable[_Round]) -> dict[str, str]:
    """Every array a file must hold, with its type."""
    entries = [
        _entry(place, name, part)
        for place, each in enumerate(rounds)
        for name in each.probes
        for part in KINDS[name].SHAPES
    ]
    return {"label": "|u1", "keys": "<u8", "folds": "|i1", **dict.fromkeys(entries, "<f4")}


def _rounds(said: tuple[_Round, ...], held: Mapping[str, Floats]) -> dict[str, RoundProbes]:
    if len({each.key for each in said}) < len(said):
        raise ValueError("it holds a round twice")
    made = {}
    for place, each in enumerate(said):
        probes: dict[Name, Probe] = {
            name: KINDS[name](**{part: held[_entry(place, name, part)] for part in KINDS[name].SHAPES})
            for name in each.probes
        }
        made[each.key] = RoundProbes(each.model, Layout(each.depth, each.width, each.layers), probes)
    return made
