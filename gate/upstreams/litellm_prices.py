"""Prices from the table that comes with litellm: read as the file it is, because importing litellm takes seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gate.http_wire import BROKEN, parsed
from gate.ports import Price

_FILE = "model_prices_and_context_window_backup.json"
"""In litellm's folder. It is what ``litellm.model_cost`` holds where nothing is fetched at start-up."""
_TOKENS = 1_000_000


def listed_price(model: str) -> Price | None:
    """US dollars per million tokens of a model as litellm names it (``provider/model``); None where none is known.

    A model is found by its whole name, or by its name alone where the table has it of the same provider, or of a part
    of it (``bedrock_converse`` is of ``bedrock``). What the table adds for long prompts, cached ones and the like is
    left out. Models added by ``litellm.register_model`` are not seen: give their price in the policy.
    """
    table = _table()
    provider, _, name = model.partition("/")
    for known in (model, name):
        entry = table.get(known)
        if isinstance(entry, Mapping) and (known == model or _is_of(entry.get("litellm_provider"), provider)):
            return _price(entry)
    return None


def _is_of(listed: object, provider: str) -> bool:
    """Another provider's name may begin with the same letters: it charges what it charges."""
    return bool(provider) and (listed == provider or str(listed).startswith((f"{provider}_", f"{provider}-")))


def _price(entry: Mapping[str, Any]) -> Price | None:
    prompt, completion = (_per_million(entry.get(f"{side}_cost_per_token")) for side in ("input", "output"))
    return None if prompt is None or completion is None else Price(prompt, completion)


def _per_million(cost: Any) -> float | None:
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost) or cost < 0:
        return None
    return round(cost * _TOKENS, 9)


@cache
def _table() -> Mapping[str, Any]:
    spec = find_spec("litellm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / _FILE
        if file.is_file():
            table = parsed(file.read_bytes())
            return table if table is not BROKEN and isinstance(table, dict) else {}
    return {}
