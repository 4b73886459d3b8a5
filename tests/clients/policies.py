"""Policies for wrapped clients: the share of agreeing samples decides; a larger model may be asked on its server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gate.assemble import load_gateway
from gate.gateway import Gateway

_WHOLE = {"capabilities": {"n": 8, "stream": False}}


def gateway(folder: Path, *, larger: str = "", **more: Any) -> Gateway:
    """``larger``: the address of the larger model's server; without one there is nobody else to ask."""
    upstreams: dict[str, Any] = {
        "mine": {
            "kind": "caller",
            "identity": "m-1",
            "capabilities": {"n": 8},
            "price": {"prompt": 1.0, "completion": 2.0},
        }
    }
    if larger:
        upstreams["large"] = {"kind": "openai_chat", "base_url": larger, "model": "m-large", **_WHOLE}
    data = {
        "name": "agreeing",
        "summary": "answers when nearly all samples agree",
        "promise": {"max_error": 0.05, "confidence": 0.95},
        "upstreams": upstreams,
        "ladder": [*upstreams],
        "tiers": [["draft", "samples", "meanings"]],
        "evidence": {"samples": {"n": 5, "temperature": 1.0, "seed": 1}, "meanings": {"judge": "lexical"}},
        "signals": ["vote_share", "semantic_concentration", "token_logprob_mean", "token_logprob_min"],
        "calibrator": "vote_share",
        "rule": {"kind": "threshold", "answer_at": 0.8},
        "routes": {"escalate": True} if larger else {},
        "abstain": "I am not sure.",
        **more,
    }
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_gateway(str(path))
