"""Upstreams: one wire dialect or in-process model a file. To add one: a file here and a line in UPSTREAMS."""

from gate.upstreams.caller import CallerUpstream
from gate.upstreams.litellm import LiteLLMUpstream
from gate.upstreams.openai_chat import OpenAIChat
from gate.upstreams.openai_completions import OpenAICompletions
from gate.upstreams.pocket import PocketUpstream
from gate.upstreams.recorded import RecordedUpstream
from gate.upstreams.vllm import VllmChat

UPSTREAMS = (OpenAIChat, OpenAICompletions, VllmChat, PocketUpstream, RecordedUpstream, LiteLLMUpstream, CallerUpstream)

__all__ = [
    "UPSTREAMS",
    "CallerUpstream",
    "LiteLLMUpstream",
    "OpenAIChat",
    "OpenAICompletions",
    "PocketUpstream",
    "RecordedUpstream",
    "VllmChat",
]
