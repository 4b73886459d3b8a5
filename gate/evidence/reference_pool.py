"""The reference pool: labelled questions as vectors, and what was learned from them. Fitted by tuning, read-only here.

One ``.npz`` file holds it; the texts themselves are not in it. **It is personal data all the same**: the text behind
a vector can be recovered from the vector (Morris et al. 2023, vec2text), even across unknown encoders. Keep, encrypt,
hand out and delete a pool as you would the questions it was made of. The keys are hashes of questions, so whoever
guesses a question can also check whether it is in there.

Everything learned is *cross-fitted*: the questions are parted into folds, and beside the model of the whole there is
one for each fold that never saw the questions of that fold. A question that is in the pool is therefore read as if it
were new: by its neighbours without itself, and by the model of its fold. What a calibrator is fitted on is then what it
meets later.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import ConfigError
from gate.evidence import array_files

Floats = npt.NDArray[np.float32]
VERSION: Literal[1] = 1
LARGEST = 2**30
"""Bytes a pool may have."""
WHOLE = 0
"""The place of the model of all questions in the arrays of parts; that of fold f is at ``f + 1``."""

_SHAPES: Mapping[str, tuple[str, str]] = {
    "keys": ("<u8", "n"),
    "folds": ("|i1", "n"),
    "vectors": ("<f4", "n d"),
    "second": ("<f4", "n e"),
    "crowding": ("<f4", "n"),
    "clusters": ("<i4", "n"),
    "correct": ("<f4", "n m"),
    "predicted_right": ("|i1", "p n m"),
    "similarity": ("<i4", "n m"),
    "nearest": ("<f4", "n m"),
    "skill_projection": ("<f4", "p r d"),
    "skill_loadings": ("<f4", "p m r"),
    "skill_intercepts": ("<f4", "p m"),
    "text_weights": ("<f4", "p m w"),
    "text_intercepts": ("<f4", "p m"),
}
"""Every array with its type and the names of its sides: a name is the same number wherever it stands."""
_KINDS = {"label": "|u1", **{name: kind for name, (kind, _) in _SHAPES.items()}}


class _Label(BaseModel):
    """What a pool file says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    upstreams: tuple[str, ...] = Field(min_length=1)
    embedder: str = Field(min_length=1)
    second_embedder: str | None
    fingerprint: str


@dataclass(frozen=True, eq=False)
class ReferencePool:
    """n questions, m upstreams, vectors of d places, p = folds + 1 parts. Raises ValueError unless it all fits.

    Arrays must not be written to. Two pools are equal when their fingerprints are.
    """

    upstreams: tuple[str, ...]
    """Names, in the order of the columns."""
    embedder: str
    """Fingerprint of the embedder behind ``vectors``; likewise ``second_embedder``, None when there is none."""
    second_embedder: str | None
    keys: npt.NDArray[np.uint64]
    """[n]: `question_key` of each question, no two the same."""
    folds: npt.NDArray[np.int8]
    """[n]: the fold of each question, 0 to p - 2."""
    vectors: Floats
    """[n, d], of unit length."""
    second: Floats
    """[n, e], of unit length; e = 0 when there is no second embedder."""
    crowding: Floats
    """[n]: mean cosine of a question to those nearest to it: high for hubs, which are near to everything."""
    clusters: npt.NDArray[np.int32]
    """[n]: the cluster of each question; one that is like no other has a cluster of its own."""
    correct: Floats
    """[n, m]: 1 = the upstream was right, 0 = wrong, between = right at times, nan = not labelled."""
    predicted_right: npt.NDArray[np.int8]
    """[p, n, m]: did a skill model that never saw the question foretell its label: 1, 0, or -1 = not labelled.

    In part f + 1 it never saw fold f either: a question of fold f finds there what its own label had no part in.
    """
    similarity: npt.NDArray[np.int32]
    """[n, m]: q of similarity-distance-magnitude without the question itself; -1 = not labelled."""
    nearest: Floats
    """[n, m]: distance to the nearest other question labelled for the upstream; nan = not labelled, or none."""
    skill_projection: Floats
    """[p, r, d], ``skill_loadings`` [p, m, r] and ``skill_intercepts`` [p, m]: see `gate.evidence.nearest.skill`."""
    skill_loadings: Floats
    skill_intercepts: Floats
    text_weights: Floats
    """[p, m, 2 d] and ``text_intercepts`` [p, m]: log-odds of being right from the vectors of question and answer.

    An intercept of nan says that the upstream has none.
    """
    text_intercepts: Floats

    def __post_init__(self) -> None:
        sides = array_files.sides(self._arrays(), _SHAPES)
        if sides["m"] != len(self.upstreams) or len(set(self.upstreams)) < len(self.upstreams):
            raise ValueError(f"there are {sides['m']} columns for the upstreams {list(self.upstreams)}")
        if sides["w"] != 2 * sides["d"] or sides["p"] < 3 or min(sides[side] for side in "ndmr") < 1:
            raise ValueError(f"the sides {sides} do not go together")
        if bool(sides["e"]) != (self.second_embedder is not None):
            raise ValueError("vectors of a second embedder and its fingerprint go together")
        self._check_values(sides)
        for array in self._arrays().values():
            array.flags.writeable = False

    def _check_values(self, sides: Mapping[str, int]) -> None:
        labelled = ~np.isnan(self.correct)
        judged = {
            "keys": len(np.unique(self.keys)) == sides["n"],
            "folds": _within(self.folds, 0, sides["p"] - 2),
            "vectors": _unit(self.vectors),
            "second": _unit(self.second),
            "crowding": _within(self.crowding, -1.001, 1.001),
            "clusters": _within(self.clusters, 0, sides["n"] - 1),
            "correct": _within(self.correct[labelled], 0, 1) and bool(labelled.any(0).all()),
            "predicted_right": _marks(self.predicted_right, labelled) and _within(self.predicted_right, -1, 1),
            "similarity": _marks(self.similarity, labelled),
            "nearest": bool(np.isnan(self.nearest[~labelled]).all())
            and _within(self.nearest[~np.isnan(self.nearest)], 0, 2.001),
            "skill_projection": bool(np.isfinite(self.skill_projection).all()),
            "skill_loadings": bool(np.isfinite(self.skill_loadings).all()),
            "skill_intercepts": bool(np.isfinite(self.skill_intercepts).all()),
            "text_weights": bool(np.isfinite(self.text_weights).all()),
            "text_intercepts": not bool(np.isinf(self.text_intercepts).any()),
        }
        broken = [name for name, sound in judged.items() if not sound]
        if broken:
            raise ValueError(f"{broken[0]!r} holds values that cannot be")

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in _SHAPES}

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of a hash over everything that is in it."""
        label = [VERSION, self.upstreams, self.embedder, self.second_embedder]
        digest = hashlib.sha256(json.dumps(label).encode())
        for name, array in self._arrays().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferencePool) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def save(self, path: Path) -> None:
        label = _Label(
            version=VERSION,
            upstreams=self.upstreams,
            embedder=self.embedder,
            second_embedder=self.second_embedder,
            fingerprint=self.fingerprint,
        )
        written = np.frombuffer(label.model_dump_json().encode(), dtype=np.uint8)
        path.write_bytes(array_files.written({"label": written, **self._arrays()}))

    @classmethod
    def load(cls, path: Path) -> ReferencePool:
        """Read a pool file. Raises `ConfigError` naming the file and what is wrong. Nothing in it is executed."""
        try:
            with zipfile.ZipFile(path) as archive:
                arrays = array_files.read(archive, _KINDS, LARGEST)
            label = _Label.model_validate_json(arrays.pop("label").tobytes())
            pool = cls(label.upstreams, label.embedder, label.second_embedder, **arrays)
        except OSError as error:
            raise ConfigError(f"cannot read the reference pool: {error.strerror or error}", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'label'}: {first['msg']}"
            raise ConfigError(f"not a usable reference pool: {reason}", where=str(path)) from error
        except array_files.FAULTS as error:
            raise ConfigError(f"not a usable reference pool: {error}", where=str(path)) from error
        if pool.fingerprint != label.fingerprint:
            raise ConfigError("the reference pool is not as it was saved: its fingerprint differs", where=str(path))
        return pool

    # --- what follows from the arrays ----------------------------------------------------------------------------

    def column(self, upstream: str) -> int | None:
        return self.upstreams.index(upstream) if upstream in self.upstreams else None

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """[n, m]."""
        return ~np.isnan(self.correct)

    @cached_property
    def base_rates(self) -> npt.NDArray[np.float64]:
        """[m]: the share of its labelled questions that each upstream has right."""
        return np.asarray(np.nanmean(self.correct, axis=0, dtype=np.float64))

    @cached_property
    def comparable(self) -> tuple[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], ...]:
        """For each upstream: which questions with q > 0 it had wrong, and which right, [n] each."""
        usable = (self.similarity > 0) & ~np.isnan(self.nearest)
        right = self.correct >= 0.5
        return tuple(zip((usable & ~right).T, (usable & right).T, strict=True))

    @cached_property
    def all_distances(self) -> tuple[Floats, ...]:
        """For each upstream: nearest distances of all its questions."""
        return tuple(column[~np.isnan(column)] for column in self.nearest.T)


def question_key(text: str) -> int:
    """A hash of a question that is blind to case, width and spacing: what counts as the same question. 64 bits."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return int.from_bytes(hashlib.sha256(folded.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _within(values: npt.NDArray[Any], low: float, high: float) -> bool:
    return bool(((values >= low) & (values <= high)).all())


def _unit(rows: Floats) -> bool:
    return not rows.shape[1] or _within(np.linalg.norm(rows, axis=1), 0.999, 1.001)


def _marks(values: npt.NDArray[Any], labelled: npt.NDArray[np.bool_]) -> bool:
    """Whether what is not labelled is marked with -1, and nothing else is."""
    return bool(((values == -1) == ~labelled).all() and (values >= -1).all())
