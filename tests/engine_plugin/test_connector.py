"""Both halves of the connector, taken through steps as vLLM takes them. Runs where torch and vLLM are installed."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gate.engine_plugin import collecting
from gate.engine_plugin.setting import Setting
from gate.hidden_states.block import pooled, unpacked
from gate.hidden_states.layout import Floats, Layout
from gate.hidden_states.rows import rows
from gate.types import InternalStates
from tests.engine_plugin.test_setting import config

torch = pytest.importorskip("torch")
connector = pytest.importorskip("gate.engine_plugin.connector")
model = pytest.importorskip("gate.engine_plugin.model")
reading = pytest.importorskip("gate.engine_plugin.reading")
readings = pytest.importorskip("gate.engine_plugin.readings")
tiny = pytest.importorskip("tests.engine_plugin.tiny")
cache = pytest.importorskip("vllm.v1.kv_cache_interface")
base = pytest.importorskip("vllm.distributed.kv_transfer.kv_connector.v1.base")
from vllm.v1.request import RequestStatus  # noqa: E402 - only where vLLM is

LAYOUT = Layout(6, 16, (2, 6))
BLOCK = 4
CACHES = cache.KVCacheConfig(
    num_blocks=50,
    kv_cache_tensors=[],
    kv_cache_groups=[
        cache.KVCacheGroupSpec(
            ["layer"], cache.FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=8, dtype=torch.float32)
        )
    ],
)
ASKS = {"gate_states": {}}


def server_config(**changed: Any) -> Any:
    made = config(**changed)
    made.model_config.get_total_num_hidden_layers = lambda: LAYOUT.depth
    made.model_config.get_hidden_size = lambda: LAYOUT.width
    made.model_config.skip_tokenizer_init = True
    made.kv_transfer_config.kv_connector_extra_config = changed.get("extra", {"layers": list(LAYOUT.layers)})
    made.kv_transfer_config.is_kv_producer = True
    return made


class Server:
    """A scheduler's half, a worker's half, and a model whose states are known for every request and position."""

    def __init__(self, **changed: Any) -> None:
        self.model = tiny.random_model(LAYOUT.width, 30)
        model.STAGE = model.Stage(self.model, Setting(LAYOUT), 0, torch.device("cpu"), torch.float32)
        scheduler, worker = base.KVConnectorRole.SCHEDULER, base.KVConnectorRole.WORKER
        self.scheduler = connector.GateStatesConnector(server_config(**changed), scheduler, CACHES)
        self.worker = connector.GateStatesConnector(server_config(**changed), worker, CACHES)
        self.worker.register_kv_caches({})
        self.states: dict[str, tuple[Floats, Floats]] = {}
        self.blocks: dict[str, list[int]] = {}
        self.requests: dict[str, Any] = {}

    def add(self, name: str, prompt: int, asks: Any = ASKS, **more: Any) -> Any:
        request = SimpleNamespace(
            request_id=name,
            kv_transfer_params=asks,
            prompt_token_ids=list(range(prompt)),
            num_prompt_tokens=prompt,
            num_tokens=prompt,
            resumable=False,
            skip_reading_prefix_cache=False,
            status=RequestStatus.RUNNING,
        )
        vars(request).update(more)
        self.requests[name] = request
        self.states[name] = tiny.random_states(LAYOUT, 60, seed=len(self.states))
        free = iter(range(10 * len(self.blocks) + 1, 50))
        self.blocks[name] = [next(free) for _ in range(9)]
        self.scheduler.on_new_request(request)
        return request

    def step(self, tokens: dict[str, tuple[int, int]], new: set[str] = frozenset(), ended: tuple[str, ...] = ()) -> Any:  # type: ignore[assignment]
        """Compute ``tokens``, by request the first position and how many; then end some. Gives their parameters."""
        output = SimpleNamespace(
            num_scheduled_tokens={name: count for name, (_, count) in tokens.items()},
            scheduled_new_reqs=[
                SimpleNamespace(req_id=n, block_ids=(self.blocks[n],), num_computed_tokens=tokens[n][0]) for n in new
            ],
            scheduled_cached_reqs=SimpleNamespace(
                req_ids=[n for n in tokens if n not in new],
                new_block_ids=[None for n in tokens if n not in new],
                num_computed_tokens=[tokens[n][0] for n in tokens if n not in new],
                resumed_req_ids=set(),
            ),
        )
        wanted = pickle.loads(pickle.dumps(self.scheduler.build_connector_meta(output)))
        self.worker.bind_connector_metadata(wanted)
        self._run(tokens)
        self.worker.wait_for_save()
        read = pickle.loads(pickle.dumps(self.worker.build_connector_worker_meta()))
        self.worker.clear_connector_metadata()
        finished = {name: self._end(name) for name in ended}
        self.scheduler.update_connector_output(SimpleNamespace(kv_connector_worker_meta=read))
        return finished

    def _run(self, tokens: dict[str, tuple[int, int]]) -> None:
        """What the model's forward pass leaves on the stage."""
        streams, last, slots = [], [], []
        for name, (start, count) in tokens.items():
            at = slice(start, start + count)
            streams.append(self.states[name][0][at])
            last.append(self.states[name][1][at])
            slots += [self.blocks[name][p // BLOCK] * BLOCK + p % BLOCK for p in range(start, start + count)]
        with torch.inference_mode():
            final = self.model.model.norm(torch.tensor(np.concatenate(last)))
        model.STAGE.kept = True
        model.STAGE._large = (list(torch.tensor(np.concatenate(streams)).unbind(1)), final, torch.tensor(slots))

    def _end(self, name: str) -> Any:
        request = self.requests[name]
        if request.status is RequestStatus.RUNNING:
            request.status = RequestStatus.FINISHED_STOPPED
        delayed, parameters = self.scheduler.request_finished_all_groups(request, ([],))
        assert not delayed, "blocks of the cache are vLLM's to free"
        return parameters

    def expected(self, name: str, first: int, end: int) -> Floats:
        streams, last = (array[first:end] for array in self.states[name])
        block = pooled(LAYOUT, "", rows(LAYOUT, streams, last, self.model.head))
        return block.numbers


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "get_tensor_model_parallel_world_size", lambda: 1)
    monkeypatch.setattr(reading, "get_tensor_model_parallel_rank", lambda: 0)
    monkeypatch.setattr(model, "STAGE", None)


def numbers(block: dict[str, Any]) -> Floats:
    return unpacked(InternalStates(**{**block, "layers": tuple(block["layers"])})).numbers


def near(block: dict[str, Any], expected: Floats) -> None:
    np.testing.assert_allclose(numbers(block), expected, rtol=1e-2, atol=1e-2)


def test_an_answer_is_read_from_its_first_step_to_its_last() -> None:
    server = Server()
    server.add("r", 6)
    server.add("other", 5, asks=None)
    server.step({"r": (0, 4), "other": (0, 5)}, new={"r", "other"})  # a prompt in two chunks
    server.step({"other": (5, 1), "r": (4, 2)})
    for at in range(6, 9):
        server.step({"other": (at, 1), "r": (at, 1)})
    server.requests["r"].num_tokens = 11
    finished = server.step({"r": (9, 1), "other": (9, 1)}, ended=("r", "other"))
    assert finished["other"] is None, "who did not ask gets what vLLM gives"
    block = finished["r"]["gate_states"]["0"]
    assert (block["answer_tokens"], block["depth"], block["width"]) == (4, 6, 16)
    near(block, server.expected("r", 5, 10))
    assert len(server.scheduler._collector) == 0


def test_a_given_answer_is_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(
        connector._Speller, "decode", property(lambda self: lambda tokens: "".join(f"<{token}>" for token in tokens))
    )
    request = server.add("r", 8, asks={"gate_states": {"given": "<5> <6><7>"}})
    assert request.skip_reading_prefix_cache, "what is in the cache is not computed"
    request.num_tokens = 9
    finished = server.step({"r": (0, 8)}, new={"r"}, ended=("r",))
    block = finished["r"]["gate_states"]["0"]
    assert block["answer_tokens"] == 3
    streams, last = (array[4:8] for array in server.states["r"])
    expected = rows(LAYOUT, streams, last, server.model.head, np.array([5, 6, 7, -1]))
    near(block, pooled(LAYOUT, "", expected).numbers)


def test_who_asks_for_states_alone_is_read_from_the_cache_as_ever() -> None:
    assert not Server().add("r", 8).skip_reading_prefix_cache


def test_siblings_are_in_one_reply() -> None:
    server = Server()
    for child in ("0_r", "1_r"):
        server.add(child, 4).num_tokens = 7
    server.step({"0_r": (0, 4), "1_r": (3, 1)}, new={"0_r", "1_r"})
    server.step({"0_r": (4, 1), "1_r": (4, 1)})
    server.step({"0_r": (5, 1), "1_r": (5, 1)}, ended=("0_r",))
    finished = server.step({"1_r": (6, 1)}, ended=("1_r",))
    replied = finished["1_r"]["gate_states"]
    for child in "01":
        near(replied[child], server.expected(f"{child}_r", 3, 6))


def test_an_abort_leaves_nothing_behind() -> None:
    server = Server()
    server.add("r", 4)
    server.step({"r": (0, 4)}, new={"r"})
    server.requests["r"].status = RequestStatus.FINISHED_ABORTED
    assert server._end("r") is None
    assert len(server.scheduler._collector) == 0
    assert not server.scheduler._collector._ended


@pytest.mark.parametrize(
    ("asks", "said"),
    [({"gate_states": 3}, "must be an object"), ({"gate_states": {"given": "x"}}, "no tokenizer")],
)
def test_what_cannot_be_asked_for_is_answered(asks: Any, said: str) -> None:
    server = Server()
    server.add("r", 4, asks=asks).num_tokens = 6
    finished = server.step({"r": (0, 4)}, new={"r"}, ended=("r",))
    assert said in finished["r"]["gate_states"]["0"]["missing"]


def test_a_session_of_several_inputs_is_not_read() -> None:
    server = Server()
    server.add("r", 4, resumable=True)
    finished = server.step({"r": (0, 4)}, new={"r"}, ended=("r",))
    assert "several inputs" in finished["r"]["gate_states"]["0"]["missing"]


def test_a_server_that_is_not_to_be_read_says_so_in_every_reply() -> None:
    server = Server(extra={"layers": [99]})
    server.add("1_r", 4)
    finished = server.step({"1_r": (0, 4)}, new={"1_r"}, ended=("1_r",))
    assert "layers 1 to 6" in finished["1_r"]["gate_states"]["1"]["missing"]


def test_a_model_that_is_not_read_says_so_too() -> None:
    server = Server()
    model.STAGE = None
    server.worker = connector.GateStatesConnector(server_config(), base.KVConnectorRole.WORKER, CACHES)
    server.worker.register_kv_caches({})
    server._run = lambda tokens: None  # type: ignore[method-assign]
    server.add("r", 4).num_tokens = 6
    finished = server.step({"r": (0, 4)}, new={"r"}, ended=("r",))
    assert "not started to read states" in finished["r"]["gate_states"]["0"]["missing"]


@pytest.mark.parametrize("method", ["span", "open", "add", "settle", "end", "place"])
def test_a_fault_with_the_scheduler_is_told_in_replies(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    server = Server()

    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("it")

    monkeypatch.setattr(collecting.Collector, method, broken)
    for name in ("r", "s"):
        server.add(name, 4).num_tokens = 6
        server.step({name: (0, 4)}, new={name})
        finished = server.step({name: (4, 1)}, ended=(name,))
        assert finished[name]["gate_states"]["0"]["missing"]
    assert "KeyError" in server.scheduler.fault
    assert "KeyError" in finished["s"]["gate_states"]["0"]["missing"]


def test_a_fault_with_a_worker_is_told_in_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(model.Stage, "rows", lambda self, slots: 1 / 0)
    server.add("r", 4).num_tokens = 6
    finished = server.step({"r": (0, 4)}, new={"r"}, ended=("r",))
    assert "ZeroDivisionError" in finished["r"]["gate_states"]["0"]["missing"]


def test_a_step_without_tokens_is_nothing() -> None:
    server = Server()
    server.worker.bind_connector_metadata(server.scheduler.build_connector_meta(_empty()))
    server.worker.wait_for_save()
    assert server.worker.build_connector_worker_meta() is None
    server.scheduler.update_connector_output(SimpleNamespace(kv_connector_worker_meta=None))
    assert server.scheduler.fault == ""


def _empty() -> Any:
    cached = SimpleNamespace(req_ids=[], new_block_ids=[], num_computed_tokens=[], resumed_req_ids=set())
    return SimpleNamespace(num_scheduled_tokens={}, scheduled_new_reqs=[], scheduled_cached_reqs=cached)


def test_no_key_and_no_value_is_moved() -> None:
    scheduler = Server().scheduler
    assert scheduler.get_num_new_matched_tokens(None, 3) == (0, False)
    assert not scheduler.requires_kv_delivery
    assert scheduler.get_finished(set()) == (None, None)


def test_a_tokenizer_that_fails_costs_given_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = server_config()
    made.model_config.skip_tokenizer_init = False  # and nothing else of what loading one needs
    half = connector.GateStatesConnector(made, base.KVConnectorRole.SCHEDULER, CACHES)
    assert half.fault == ""
    assert half._speller.decode is None
    half._speller._tokenizer, half._speller.fault = SimpleNamespace(decode=lambda *_, **__: 1 / 0), ""
    assert half._speller.decode([1]) == ""
    assert half._speller.decode is None


def test_a_model_without_attention_cannot_be_read() -> None:
    without = cache.KVCacheConfig(num_blocks=1, kv_cache_tensors=[], kv_cache_groups=[])
    half = connector.GateStatesConnector(server_config(), base.KVConnectorRole.SCHEDULER, without)
    assert "no attention layer" in half.fault
