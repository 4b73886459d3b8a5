"""A stand-in for litellm at its edge: what gate asks of it is kept, and it answers or fails as told.

Its errors are made as litellm makes them: classes of the OpenAI client's, with a status, words, and the headers of a
server where one has said anything.
"""

from __future__ import annotations

import importlib.machinery
import types
from collections.abc import Callable
from typing import Any

import httpx
import openai

_REQUEST = httpx.Request("POST", "http://127.0.0.1/v1")


class Reply:
    """Like litellm's ``ModelResponse``, as far as it is read."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def model_dump(self, *, warnings: bool) -> dict[str, Any]:
        return self._data


class FakeLitellm(types.ModuleType):
    """``litellm`` in ``sys.modules``."""

    def __init__(self, answers: Callable[[dict[str, Any]], dict[str, Any]], supported: list[str] | None = None) -> None:
        super().__init__("litellm")
        self.__spec__ = importlib.machinery.ModuleSpec("litellm", None)
        self.drop_params: bool | None = None
        self.asked: list[dict[str, Any]] = []
        self._answers = answers
        self._supported = supported

    def completion(self, **asked: Any) -> Reply:
        self.asked.append(asked)
        return Reply(self._answers(asked))

    async def acompletion(self, **asked: Any) -> Reply:
        return self.completion(**asked)

    def get_supported_openai_params(self, *, model: str) -> list[str] | None:
        return self._supported


def says(*texts: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        choices = [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"} for text in texts]
        usage = {"prompt_tokens": 7, "completion_tokens": 5}
        return {"model": "m-1", "choices": choices, "usage": usage}

    return answer


def fails(error: Exception) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        raise error

    return answer


def status_error(
    status: int, message: str, headers: dict[str, str] | None = None, body: object = None
) -> openai.APIStatusError:
    """``headers``: None where litellm made the status up."""
    error = openai.APIStatusError(message, response=httpx.Response(status, request=_REQUEST), body=body)
    error.litellm_response_headers = headers  # type: ignore[attr-defined]
    return error


def timed_out() -> openai.APITimeoutError:
    return openai.APITimeoutError(request=_REQUEST)


class UnsupportedParamsError(openai.OpenAIError):
    status_code = 400
