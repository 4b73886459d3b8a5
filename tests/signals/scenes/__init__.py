"""Evidence for the conformance tests, a module a family of facts.

Each module has ``sure()`` and ``unsure()``, the facts of an answer that is likely right and of one that is not, and
``facts()``, a strategy for any facts that may occur together. A fact class belongs to one module.
"""

from tests.signals.scenes import core, perturb, sampling, verbalized

FAMILIES = (core, perturb, sampling, verbalized)
