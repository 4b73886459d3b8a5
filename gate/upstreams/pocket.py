"""The pocket model as an upstream: a small language model of geography inside this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel

from gate.effects import STOPPED_EARLY, Generate, ReadStates
from gate.errors import UpstreamError
from gate.live_ports import Grew
from gate.pocket.weights import Size, fingerprint
from gate.ports import Price, Profile
from gate.types import Generation, Generations, Message, TokenLogprob, Usage

if TYPE_CHECKING:
    from gate.pocket.model import Answer, PocketModel


class PocketOptions(BaseModel, extra="forbid"):
    """What a policy file may say about a pocket upstream."""

    model: Size = "small"


@dataclass(frozen=True)
class PocketUpstream:
    """Fits `LiveLocalUpstream`. Costs nothing to construct: the first request opens the model, which all share."""

    kind: ClassVar[str] = "pocket"
    Options: ClassVar[type[BaseModel]] = PocketOptions
    profile: ClassVar[Profile] = Profile(
        logprobs=True, top_logprobs=20, n=64, tools=False, seed=True, stream=True, states=True
    )

    name: str
    size: Size = "small"
    price: Price = Price()

    @classmethod
    def from_options(cls, name: str, options: PocketOptions, price: Price) -> Self:
        return cls(name, options.model, price)

    @property
    def fingerprint(self) -> str:
        """That of weights and tokenizer; the first look reads them from disk once a process."""
        return f"pocket-{self.size}:{fingerprint(self.size)}"

    def complete_live(self, effect: Generate, cancelled: Callable[[], bool], grew: Grew) -> Generations:
        """`complete`, telling of a single answer token by token."""
        stopped = False

        def told(text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
            nonlocal stopped
            stopped = not grew(text, tokens)
            return not stopped

        reply = self._completed(effect, cancelled, told)
        if not stopped:
            return reply
        return replace(reply, choices=tuple(replace(each, finish_reason=STOPPED_EARLY) for each in reply.choices))

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        """Answer the last user message; stop between two tokens, raising `UpstreamError`, once ``cancelled()`` is true.

        Messages may hold nothing but text, and ``effect.extra`` may not ask for tools; its other fields have no meaning
        here. Temperature is 1 unless given.
        """
        return self._completed(effect, cancelled, None)

    def _completed(self, effect: Generate, cancelled: Callable[[], bool], grew: Grew | None) -> Generations:
        from gate.pocket.model import PocketModel  # these load onnxruntime and numpy: a few tenths of a second that
        from gate.pocket.sampling import Sampling  # only who runs the model pays

        if effect.n > self.profile.n:
            raise UpstreamError(
                self.name, f"gives at most {self.profile.n} answers a request, not {effect.n}", status=400
            )
        if effect.extra.get("tools") or effect.extra.get("functions"):
            raise UpstreamError(self.name, "the pocket model cannot call tools: leave them out", status=400)
        if not all(map(_only_text, effect.messages)):
            raise UpstreamError(
                self.name, "the pocket model reads text only: leave out images, audio and files", status=400
            )
        how = Sampling(
            n=effect.n,
            temperature=1.0 if effect.temperature is None else effect.temperature,
            top_p=1.0 if effect.top_p is None else effect.top_p,
            max_tokens=effect.limit,
            stop=effect.stop,
            seed=effect.seed,
            top_logprobs=effect.logprobs,
        )
        model = PocketModel.load(self.size)
        given = effect.states is not None and effect.states.given
        try:
            prompt = model.encode_chat(effect.messages[:-1] if given else effect.messages)
            if given:
                return self._taken_in(model, prompt, effect)
            answers = model.generate(prompt, how, cancelled, grew)
        except UpstreamError as error:  # the model knows its own name; the policy's name is what people look for
            raise UpstreamError(self.name, error.cause, status=error.status) from error
        choices = tuple(self._choice(model, prompt, answer, effect) for answer in answers)
        return Generations(choices, Usage(len(prompt), sum(len(a.ids) for a in answers)), model.name)

    def _choice(self, model: PocketModel, prompt: list[int], answer: Answer, effect: Generate) -> Generation:
        made = Generation(answer.text, answer.finish_reason, answer.tokens)
        return made if effect.states is None else self._with_states(made, model, prompt, answer.ids, effect)

    def _taken_in(self, model: PocketModel, prompt: list[int], effect: Generate) -> Generations:
        """An answer that stands there already, read."""
        answer = model.encode_answer(effect.messages[-1].content)
        made = self._with_states(Generation("", "length"), model, prompt, answer, effect)
        return Generations((made,), Usage(len(prompt) + len(answer), 1), model.name)

    def _with_states(
        self, made: Generation, model: PocketModel, prompt: list[int], answer: Sequence[int], effect: Generate
    ) -> Generation:
        from gate.hidden_states.block import packed
        from gate.pocket.model import one_line
        from gate.pocket.states import places_of, read

        asked = effect.states or ReadStates()
        text = model.asked(effect.messages)
        passages = places_of([one_line(passage) for passage in asked.passages], text, model.offsets(text))
        try:
            block = read(model, prompt, answer, given=asked.given, passages=[place + 1 for place in passages])
        except ValueError as error:
            return replace(made, no_states=str(error))
        return replace(made, states=packed(block))


def _only_text(message: Message) -> bool:
    parts = message.wire.get("content") if message.wire else None
    return not isinstance(parts, list) or all(part.get("type") == "text" for part in parts)
