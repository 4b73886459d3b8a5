"""The balanced policy with other keys, for tests of what a policy file is made into."""

from __future__ import annotations

from pathlib import Path

import yaml

from gate.policy import find


def changed(folder: Path, **changes: object) -> Path:
    """The balanced policy, uncalibrated and without a certificate, with some top-level keys changed."""
    data = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))
    data |= {
        "calibrator": "vote_share",
        "certificate": None,
        "evidence": {"samples": {"n": 5, "temperature": 1.0, "seed": 7}},
        "signals": [name for name in data["signals"] if name != "vote_posterior"],
        "rule": {"answer_at": 0.8, "gather_above": 0.5, "otherwise": ["retrieve", "escalate"]},
        **changes,
    }
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def line_of(path: Path, text: str) -> int:
    return path.read_text(encoding="utf-8").splitlines().index(text) + 1
