"""A server for the Model Context Protocol: agents ask through a policy, or have an answer judged by one.

Over stdio, where an agent starts it, or over streamable HTTP on loopback. There are two tools, ``ask`` and ``judge``.
What they tell is structured, with a schema, and stands in the reply as text too, for clients that read no structure.
What fails is a tool's error in gate's own words. A request that the client cancels stops all that was asked for it.

Needs the package ``mcp``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import BaseModel, TypeAdapter
from starlette.types import ASGIApp

from gate import __version__
from gate.drivers import Recording
from gate.errors import ConfigError, GateError, MissingExtra, RequestError, UnknownName, UpstreamError
from gate.given import Given
from gate.integrations.mcp_values import (
    ASKED,
    JUDGED,
    AskArguments,
    Asked,
    JudgeArguments,
    Judged,
    asked,
    judged,
    plain,
    read,
)
from gate.proxy.policies import Policies
from gate.types import Generation, Passage, Question, Step

try:
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
    from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations
except ModuleNotFoundError as error:
    raise MissingExtra("mcp", "mcp") from error

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
INSTRUCTIONS = (
    "Answers that are let through only when they are probably right. Use 'ask' for a question: it comes back with an "
    "answer, or with a refusal where no answer is likely enough. Use 'judge' for an answer you already have, with a "
    "few more answers to the same question as 'samples' where you can get them. 'p' is a calibrated probability of "
    "being right, unless 'calibrated' is false."
)


class _Steps(list[Step]):
    """Tells of each step as it is taken."""

    def __init__(self, told: Callable[[Step], None]) -> None:
        super().__init__()
        self._told = told

    def append(self, step: Step) -> None:
        super().append(step)
        self._told(step)


@dataclass(slots=True)
class Tools:
    """``ask`` and ``judge`` over some policies, as the handlers of a `Server`."""

    policies: Policies
    _listed: ListToolsResult = field(init=False)

    def __post_init__(self) -> None:
        self._listed = ListToolsResult(
            tools=[
                self._tool("ask", "Ask, and get an answer only if it is probably right", AskArguments, ASKED),
                self._tool("judge", "How likely an answer is right", JudgeArguments, JUDGED),
            ]
        )

    async def listed(self, context: Any, params: Any) -> ListToolsResult:
        return self._listed

    async def called(self, context: Any, params: Any) -> CallToolResult:
        """One call. What gate raises on purpose is told as the tool's error."""
        try:
            match params.name:
                case "ask":
                    return _told(await self._ask(context, read(AskArguments, params.arguments)), ASKED)
                case "judge":
                    return _told(await self._judge(context, read(JudgeArguments, params.arguments)), JUDGED)
                case name:
                    raise RequestError(str(UnknownName("tool", name, ("ask", "judge"))))
        except GateError as error:
            said = error.in_full if isinstance(error, UpstreamError) else str(error)
            return CallToolResult(
                content=[TextContent(type="text", text=said.encode("utf-8", "replace").decode())], is_error=True
            )

    async def _ask(self, context: Any, arguments: AskArguments) -> Asked:
        if not arguments.question.strip():
            raise RequestError("question: is empty", param="question")
        async with self.policies.using(self._policy(arguments.policy)) as gateway, _progress(context) as recording:
            return asked(*await gateway.aask(Question.from_text(arguments.question), recording=recording))

    async def _judge(self, context: Any, arguments: JudgeArguments) -> Judged:
        given = Given(
            Generation(arguments.answer),
            samples=tuple(map(Generation, arguments.samples)),
            passages=tuple(Passage(str(number), text) for number, text in enumerate(arguments.passages, 1)),
        )
        question = Question.from_text(arguments.question)
        async with self.policies.using(self._policy(arguments.policy)) as gateway, _progress(context) as recording:
            return judged(*await gateway.ajudge(question, given, recording=recording))

    def _policy(self, name: str | None) -> str:
        if name is not None and name not in self.policies.names:
            raise RequestError(str(UnknownName("policy", name, self.policies.names)), param="policy")
        return name or ""

    def _tool(self, name: str, title: str, takes: type[BaseModel], tells: TypeAdapter[Any]) -> Tool:
        known = ", ".join(f"{each.name} ({each.policy.summary})" for each in self.policies.all())
        schema = takes.model_json_schema()
        schema["properties"]["policy"] = {
            "type": "string",
            "enum": list(self.policies.names),
            "default": self.policies.default.name,
            "description": f"{takes.model_fields['policy'].description} There are: {known}.",
        }
        open_world = name == "ask"  # to judge, no model is asked for an answer
        return Tool(
            name=name,
            title=title,
            description=f"{title}. {_PURPOSE[name]}",
            input_schema=schema,
            output_schema=tells.json_schema(mode="serialization"),
            annotations=ToolAnnotations(read_only_hint=True, open_world_hint=open_world),
        )


_PURPOSE = {
    "ask": "The policy decides whether to answer at once, to gather evidence, to look things up, to ask a stronger "
    "model, to ask back, or to refuse; the result says what it did and how sure it is.",
    "judge": "No model is asked for another answer: it is judged by what is given with it, so give samples if you can.",
}


def _told(made: Any, adapter: TypeAdapter[Any]) -> CallToolResult:
    """As structure, and the same JSON as text."""
    held = plain(made, adapter)
    text = json.dumps(held, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=held)


@asynccontextmanager
async def _progress(context: Any) -> AsyncIterator[Recording]:
    """A recording of whose steps the client is told as they are taken, where it asked to be."""
    send, receive = anyio.create_memory_object_stream[Step](float("inf"))

    async def tell() -> None:
        async with receive:
            number = 0
            async for step in receive:
                number += 1
                decision = step.decision
                said = f"{decision.stage.key}: {decision.action.value} ({decision.reason})"
                await context.session.report_progress(number, message=said)

    failed: GateError | None = None
    async with anyio.create_task_group() as telling:
        telling.start_soon(tell)
        with send:
            try:
                yield Recording(steps=_Steps(send.send_nowait))
            except GateError as error:  # kept out of the group, which would wrap it
                failed = error
    if failed is not None:
        raise failed


# --- serving -----------------------------------------------------------------------------------------------------


def server_of(policies: Policies) -> Server[Any]:
    """The server, to be run over any transport of the package ``mcp``; it closes the policies at its end."""
    tools = Tools(policies)

    @asynccontextmanager
    async def lifespan(server: Server[Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {}
        finally:
            with anyio.CancelScope(shield=True):
                await policies.aclose()

    return Server(
        "gate",
        version=__version__,
        title="gate",
        description="Selective answering: answers are let through only when they are probably right.",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=tools.listed,
        on_call_tool=tools.called,
    )


def serve_stdio(policies: Policies) -> None:
    """Serve whoever started this process, until its input ends. Stdout is the protocol's alone meanwhile."""
    anyio.run(_over_stdio, policies)


async def _over_stdio(policies: Policies) -> None:
    server = server_of(policies)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def http_app(policies: Policies, host: str) -> ASGIApp:
    """Streamable HTTP at ``/mcp``. Requests whose Host or Origin is not this machine's are refused: a web page that
    has a name for 127.0.0.1 must not ask. Raises `ConfigError` for a host that is not loopback."""
    refuse_others(host)
    app: ASGIApp = server_of(policies).streamable_http_app(host=host)
    return app


def refuse_others(host: str) -> None:
    """Raises `ConfigError` for a host that is not loopback: nobody is asked for a key here."""
    if host not in LOOPBACK:
        raise ConfigError(f"MCP is served without keys, so on loopback only, not on {host!r}: give --host 127.0.0.1")
