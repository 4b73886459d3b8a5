"""What LiteLLM's hooks hand over, with its own classes."""

from __future__ import annotations

import litellm
import pytest

from gate.errors import RequestError
from gate.integrations.litellm_wire import answers, asked
from tests.integrations.litellm_servers import quiet

pytestmark = [*quiet]
USER = {"role": "user", "content": "Where is Lagos?"}


def test_a_question_is_read_with_the_fields_that_bear_on_its_answer() -> None:
    before = litellm.Message(content="hm", role="assistant")
    fields = {"temperature": 0.3, "n": 2, "api_key": "sk-x", "metadata": {"a": 1}, "tools": None}
    made = asked("plain", [USER, before, USER], fields)
    assert [message.role for message in made.question.messages] == ["user", "assistant", "user"]
    assert (made.question.options, made.n) == ({"temperature": 0.3}, 2)


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": ""}], [{"role": "nobody", "content": "x"}]])
def test_what_is_no_question_is_refused(messages: list[dict[str, str]]) -> None:
    with pytest.raises(RequestError):
        asked("plain", messages, {})


def test_all_choices_of_a_reply_are_read() -> None:
    choices = [{"message": {"role": "assistant", "content": text}} for text in ("Peru", "Chad")]
    assert [answer.text for answer in answers(litellm.ModelResponse(choices=choices))] == ["Peru", "Chad"]
