"""The schema of a policy file, and reading one: names and numbers only, nothing is built here.

A policy is YAML. Unknown keys, impossible promises and broken values are refused with file, line and the nearest valid
key; names that stand for nothing are refused the same way where they are looked up, in `gate.assemble`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gate import yaml_lines
from gate.endpoint_settings import (
    EmbedderSettings,
    JudgeSettings,
    PersonSettings,
    RetrieverSettings,
    UpstreamSettings,
)
from gate.errors import UnknownName
from gate.prompts import locate
from gate.route_settings import AbstainSettings, ClarifySettings, RetrieveSettings
from gate.rules import RULES, AnyRule, Thresholds
from gate.serving_settings import ServingSettings
from gate.yaml_lines import Lines, Place

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Share = Annotated[float, Field(gt=0, lt=1)]
_DEFAULT_RULE: Literal["threshold"] = "threshold"
_FAN_OUT = 32
_RULE_KEYS = tuple(sorted({key for rule in RULES for key, field in rule.model_fields.items() if not field.exclude}))
"""Of all kinds: which one a misspelt key is of, the schema cannot tell."""


def _unset(value: object) -> bool:
    """Keys that came later and are not used stand in no fingerprint: what was certified before them still is."""
    return not value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Promise(_Part):
    """``max_error``: the largest share of wrong answers among those let through; ``confidence``: how sure of it."""

    max_error: Share
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class CostSettings(_Part):
    """What it costs whoever runs the gate, in US dollars, when a wrong answer goes out and when a question is left
    unanswered; what the models charge comes on top. Tuning looks for the least of all three under the promise."""

    wrong: float = Field(default=1.0, ge=0)
    abstain: float = Field(default=0.1, gt=0)


class RouteSettings(_Part):
    """Which ways there are beside answering and abstaining."""

    retrieve: RetrieveSettings | None = None
    escalate: bool = True
    """Along the ``ladder``."""
    clarify: ClarifySettings | None = Field(default=None, exclude_if=_unset)
    """Asks back where the question is ambiguous."""


class BudgetSettings(_Part):
    """The most one question may cost; a budget is a hard stop, enforced before a request is made.

    ``calls``: evidence is not begun without room for the requests it needs. Only repetitions of a request that failed
    are made beyond the number.
    ``seconds``: the deadline; whatever is under way then is called off.
    ``tokens`` and ``money``: a request is made only if its dearest outcome fits, and no answer may be longer than fits.
    So they hold for an upstream that keeps to ``max_tokens``, reports its usage, counts a prompt once however many
    answers it gives to it, and does not bill for what it failed to answer. Before an upstream has counted a prompt
    itself, its tokens are taken to be a third of its bytes (and 1500 an image): where they are more, one request may
    go over by the difference. Embeddings and entailment asked of a server are foreseen likewise.
    """

    calls: int | None = Field(default=20, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=60, gt=0)
    money: float | None = Field(default=None, gt=0)
    fan_out: int = Field(default=_FAN_OUT, ge=1, exclude_if=_FAN_OUT.__eq__)
    """The most requests side by side, and answers asked of one: what would take more is missing."""


class CertificateSettings(_Part):
    """The evidence behind the promise, written by tuning. See `gate.types.Certificate`."""

    alpha: Share
    delta: Share
    n: int = Field(ge=1)
    answered: int = Field(ge=0)
    errors: int = Field(ge=0)
    bound: float = Field(ge=0, le=1)
    segment: str
    date: str
    labels: str = ""
    """Who said what is right, and how far they are to be trusted."""
    fingerprints: dict[str, str]
    models: dict[str, str] = Field(default={}, exclude_if=_unset)
    """The name by which each upstream's model went in its replies; without one, the first that is seen counts."""

    @model_validator(mode="after")
    def _counts(self) -> CertificateSettings:
        if not self.errors <= self.answered <= self.n:
            raise ValueError("a certificate has errors <= answered <= n")
        return self


class _RuleKind(BaseModel, extra="ignore"):
    kind: Literal["threshold", "expected_cost"] = _DEFAULT_RULE


class Policy(_Part):
    """One policy file."""

    name: Name
    summary: str = ""
    promise: Promise
    costs: CostSettings = CostSettings()
    upstreams: dict[Name, UpstreamSettings] = Field(min_length=1)
    ladder: tuple[Name, ...] = Field(min_length=1)
    """Upstreams from the first asked to the strongest."""
    tiers: tuple[tuple[Name, ...], ...] = Field(default=(("draft",), ("samples", "meanings")), min_length=1)
    """Evidence in the order it is bought."""
    evidence: dict[Name, dict[str, Any]] = {}
    """Options of the evidence in the tiers, by name; checked by each source itself."""
    signals: tuple[Name, ...] = Field(min_length=1)
    calibrator: str
    """A calibrator file beside the policy, or ``vote_share`` for the uncalibrated fall-back."""
    rule: SerializeAsAny[AnyRule]
    """Of one of the kinds in `gate.rules.RULES`; ``threshold`` unless it says another."""
    routes: RouteSettings = RouteSettings()
    retrievers: dict[Name, RetrieverSettings] = {}
    embedders: dict[Name, EmbedderSettings] = {}
    judges: dict[Name, JudgeSettings] = {}
    """Judges of entailment."""
    people: dict[Name, PersonSettings] = {}
    abstain: AbstainSettings = AbstainSettings()
    """What a refusal says: a text, or more."""
    budget: BudgetSettings = BudgetSettings()
    on_failure: Literal["abstain", "pass_through"] = "abstain"
    """When confidence cannot be computed: abstain, or let the draft through, marked."""
    on_void: Literal["serve", "abstain"] = "serve"
    """When the certificate does not hold for what runs: keep serving, marked, or abstain from everything."""
    serving: ServingSettings = ServingSettings()
    certificate: CertificateSettings | None = None

    @field_validator("rule", mode="plain")
    @classmethod
    def _of_its_kind(cls, value: Any) -> Any:
        if isinstance(value, Thresholds):
            return value
        kinds = {rule.model_fields["kind"].default: rule for rule in RULES}
        kind = _RuleKind.model_validate(value).kind if isinstance(value, dict) else _DEFAULT_RULE
        return kinds[kind].model_validate(value)

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        for message, place in self._faults():
            raise PydanticCustomError("policy", "{message}", {"message": message, "place": place})
        return self

    def _faults(self) -> Iterator[tuple[str, Place]]:
        """What does not go together, and where in the file it is best mended."""
        held = self.certificate
        if held and held.bound > self.promise.max_error:
            shown = f"the certificate shows at most {held.bound:.4f} error"
            said = f"{shown}, which does not back max_error {self.promise.max_error}: tune again or promise less"
            yield said, ("promise", "max_error")
        if held and held.alpha > self.promise.max_error:
            yield (
                "the certificate was made for a weaker promise than this policy gives: tune again",
                ("certificate", "alpha"),
            )
        if held and held.delta > 1 - self.promise.confidence + 1e-12:
            yield (
                "the certificate was made for a weaker promise than this policy gives: tune again",
                ("certificate", "delta"),
            )
        for kind, names, place in (
            ("name of an endpoint", (*self.upstreams, *self.embedders, *self.judges), ("upstreams",)),
            ("upstream", self.ladder, ("ladder",)),
            ("signal", self.signals, ("signals",)),
            ("evidence", tuple(self._evidence_once()), ("tiers",)),
        ):
            for name in _repeated(names):
                yield f"the {kind} {name!r} stands twice", place
        if self.routes.retrieve:
            for name in _repeated(self.routes.retrieve.retriever):
                yield f"the retriever {name!r} stands twice", ("routes", "retrieve", "retriever")
        if not self.tiers[0] or self.tiers[0][0] != "draft":
            yield "the first tier must start with 'draft'", ("tiers",)
        for name in self.routes.clarify.below if self.routes.clarify else ():
            if name not in self.signals:
                known = f"{name!r} is not among the signals of this policy: {', '.join(self.signals)}"
                yield known, ("routes", "clarify", "below", name)
            retrieve = self.routes.retrieve
            if name == "passages_agree" and (retrieve is None or retrieve.fetch <= retrieve.k):
                lacking = "'passages_agree' tells nothing unless 'fetch' looks for more passages than the 'k' quoted"
                yield lacking, ("routes", "clarify", "below", name)

    def _evidence_once(self) -> Iterator[str]:
        """The evidence of all tiers, without what is gathered again where more samples are drawn."""
        before: set[str] = set()
        grow = isinstance(self.evidence.get("samples", {}).get("n"), list)
        for tier in self.tiers:
            again = before if grow and "samples" in tier and "samples" in before else set()
            yield from (name for place, name in enumerate(tier) if name not in again or name in tier[:place])
            before |= {*tier}

    @property
    def fingerprint(self) -> str:
        """Hash of everything that bears on a decision: not the name, the summary or the certificate itself, nor the
        costs, by which tuning chooses among policies that all keep the promise. Who is handed a question, how long a
        search may take and how answers are served change no decision. Nor do breakers, for the calls they spare would
        have failed, nor hedges, which ask again only for what would be answered alike."""
        apart: dict[str, Any] = dict.fromkeys(("name", "summary", "costs", "certificate", "people", "serving"), True)
        faults = {"breaker", "hedge"}
        apart |= {section: {"__all__": faults} for section in ("upstreams", "embedders", "judges")}
        content = self.model_dump(exclude={**apart, "retrievers": {"__all__": {"timeout", *faults}}})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _repeated(names: Sequence[str]) -> Iterator[str]:
    return (name for place, name in enumerate(names) if name in names[:place])


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy with where it came from, so that later errors can name the line."""

    policy: Policy
    path: Path
    lines: Lines

    def where(self, *place: str | int) -> str:
        """``file:line`` of a key, or of the nearest one above it."""
        return self.lines.where(*place)


def find(name_or_path: str) -> Path:
    """A policy file by path, or a shipped one by name."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.parent != Path():
        return path
    folder = locate("policies")
    shipped = folder / f"{name_or_path}.yaml"
    if not shipped.is_file():
        raise UnknownName("policy", name_or_path, (p.stem for p in folder.glob("*.yaml")))
    return shipped


def read(path: Path, *, certificate: bool = True) -> PolicyFile:
    """Read and check a policy file. Raises `ConfigError`, with file and line.

    Without its ``certificate`` it is read as one still to be tuned: what it promises need not be shown yet.
    """
    data, lines = yaml_lines.read(path, "policy")
    if not certificate:
        data.pop("certificate", None)
    return PolicyFile(yaml_lines.checked(Policy, data, lines, known={("rule",): _RULE_KEYS}), path, lines)


def options(
    file: PolicyFile, model: type[BaseModel], values: Mapping[str, Any], *place: str | int, of: str = ""
) -> BaseModel:
    """Check the options of one part against that part's own model, with the policy's file and line in errors.

    ``of`` names the part where a key of it is missing.
    """
    return yaml_lines.checked(model, dict(values), file.lines.below(*place), of=of)
