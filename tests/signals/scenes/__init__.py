"""Evidence for the conformance tests, a module a family of facts.

Each module has ``sure()`` and ``unsure()``, the facts of an answer that is likely right and of one that is not, and
``facts()``, a strategy for any facts that may occur together. A fact class belongs to one module of FAMILIES.

A signal may be about drafts of one kind alone (a tool call, say). The modules in ALONE have such drafts: their facts
are all the evidence there is.
"""

from tests.signals.scenes import (
    core,
    internal,
    json_answers,
    neighbours,
    perturb,
    sampling,
    second,
    tool_calls,
    verbalized,
)

FAMILIES = (core, internal, neighbours, perturb, sampling, second, verbalized)
ALONE = (tool_calls, json_answers)
