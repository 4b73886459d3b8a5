"""The index as a retriever: what is found, in which order, and how sure it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.assemble import load_gateway
from gate.effects import Retrieve
from gate.embedders import HashedNgrams
from gate.errors import ConfigError, UpstreamError
from gate.retrieval import IndexRetriever
from gate.retrieval.index import IndexOptions
from gate.retrieval.index_file import EmbedderRecord, IndexFile, PassageRow
from gate.types import Question
from tests.judges.tiny_cross_encoder import build
from tests.retrieval.indexes import EMBEDDER, brought, folder, found, made, opened

FILES = {
    "h210.md": "# Router H210\n## Reset\nHold the recessed button for 12 seconds with a paper clip.",
    "h310.md": "# Router H310\n## Reset\nSign in to the setup page and choose to restore the defaults.",
    "leave.md": "# Annual leave\nEveryone has 28 days of paid vacation a year.",
    "jam.md": "# Jam\nBoil fruit and sugar in equal weights until a drop sets on a cold plate.",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("index")
    return made(at / "docs.index", folder(at / "docs", FILES))


def test_names_and_numbers_are_found_by_words_and_parts_of_words_by_vectors(index: Path) -> None:
    assert found(index, "How do I reset the H210?")[0] == "docs/h210.md#0"
    assert found(index, "28 days")[0] == "docs/leave.md#0"
    assert found(index, "boiling fruits", 1) == ["docs/jam.md#0"]
    assert found(index, "vacatio", 1) == ["docs/leave.md#0"], "no word of it stands anywhere"


def test_a_passage_says_where_it_stands(index: Path) -> None:
    first = opened(index).search("reset the H210", 1)[0]
    assert (first.title, first.source) == ("Router H210 › Reset", "docs/h210.md")
    assert first.start is not None
    assert FILES["h210.md"][first.start :].startswith(first.text)


def test_scores_fall_along_the_list_and_tell_whether_anything_fits(index: Path) -> None:
    retriever = opened(index)
    scores = [passage.score for passage in retriever.search("reset the H210 with a paper clip", 4)]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] <= 1.0
    assert retriever.search("monetary policy of Peru", 1)[0].score < scores[0] / 2


@pytest.fixture(scope="module")
def retriever(index: Path) -> IndexRetriever:
    return opened(index)


@settings(max_examples=60)
@given(st.text(max_size=40) | st.text(alphabet="\"()*^:+-{}' ANDOR\x00\ud800h210", max_size=20), st.integers(1, 200))
def test_any_text_is_a_query(retriever: IndexRetriever, query: str, k: int) -> None:
    passages = retriever.search(query, k)
    assert len(passages) <= min(k, 4)
    assert len({passage.id for passage in passages}) == len(passages)
    assert all(0.0 <= passage.score <= 1.0 for passage in passages)
    assert passages == retriever.search(query, k)


def test_an_empty_query_finds_nothing_and_words_alone_need_no_vectors(tmp_path: Path, index: Path) -> None:
    assert found(index, " ") == []
    brought(tmp_path / "words.index", folder(tmp_path / "docs", FILES), embed=None)
    assert found(tmp_path / "words.index", "H210")[0] == "docs/h210.md#0"
    assert found(tmp_path / "words.index", "vacatio") == []
    assert found(index, "H210", 1, lexical=0)[0] == "docs/h210.md#0"


def test_a_policys_embedder_gives_the_vector_of_the_query(index: Path) -> None:
    retriever = opened(index, embedder="mine")
    assert retriever.embedder == "mine"
    vector = tuple(EMBEDDER.embed(["vacatio"])[0].tolist())
    asked = Retrieve("docs", "vacatio", 1, vector)
    assert [p.id for p in retriever.complete(asked, lambda: False)] == ["docs/leave.md#0"]
    for given_, reason in ((None, "without the query's vector by 'mine'"), ((1.0,), "1 numbers; its own have 64")):
        with pytest.raises(UpstreamError, match=reason):
            retriever.complete(Retrieve("docs", "vacatio", 1, given_), lambda: False)
    with pytest.raises(UpstreamError, match="was cancelled"):
        retriever.complete(asked, lambda: True)
    retriever.check_embedder(EMBEDDER.fingerprint)
    with pytest.raises(ConfigError, match="index anew with --rebuild"):
        retriever.check_embedder(HashedNgrams("mine", 128).fingerprint)


def as_if_by(path: Path, record: EmbedderRecord | None) -> Path:
    with IndexFile.open(path) as file:
        document = file.begin("a.md", 1, 1, "hash")
        file.choose(record)
        rows = [PassageRow(document, "a", "text", "", "a.md", 0)]
        file.add(rows, EMBEDDER.embed(["text"]).astype("float32") if record else None)
        file.finish(document, ())
        file.commit()
    return path


@pytest.mark.parametrize(
    ("record", "options", "reason"),
    [
        (
            EmbedderRecord("openai_embeddings", {"model": "m"}, "x"),
            {},
            "made with the embedder 'openai_embeddings': name",
        ),
        (EmbedderRecord("hashed_ngrams", {"dimensions": 64}, "hashed_ngrams-0-64"), {}, "index anew with --rebuild"),
        (EmbedderRecord("hashed_ngrams", {"what": 64}, "x"), {}, "options that are unknown"),
        (None, {"embedder": "mine"}, "has no vectors: leave out 'embedder'"),
        (None, {"lexical": 0}, "has no vectors: 'lexical' cannot be 0"),
    ],
)
def test_an_index_that_does_not_fit_its_options_is_refused(
    tmp_path: Path, record: EmbedderRecord | None, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        opened(as_if_by(tmp_path / "x.index", record), **options)


def test_what_bears_on_the_order_is_in_the_fingerprint(index: Path, tmp_path: Path) -> None:
    reranker = build(tmp_path / "model", labels=("x",), words={"fruit": (1.0,)})
    made_ = [opened(index, **options).fingerprint for options in ({}, {}, {"lexical": 2}, {"reranker": str(reranker)})]
    assert made_[0] == made_[1]
    assert len(set(made_)) == 3
    with pytest.raises(ValidationError):
        IndexOptions.model_validate({"path": "x", "lexical": -1})


def test_a_reranker_has_the_last_word(index: Path, tmp_path: Path) -> None:
    model = build(tmp_path / "model", labels=("x",), words={"fruit": (3.0,), "Router": (-1.0,)})
    passages = opened(index, reranker=str(model)).search("reset", 4)
    assert passages[0].id == "docs/jam.md#0"
    assert passages[0].score == pytest.approx(0.9526, abs=1e-4)
    assert [passage.score for passage in passages] == sorted((p.score for p in passages), reverse=True)
    assert len(opened(index, reranker=str(model)).search("reset", 1)) == 1


def policy(at: Path, **retriever: object) -> Path:
    """The example's policy, with an embedder of its own and these options of its retriever."""
    shipped = Path(__file__).parents[2] / "examples" / "retrieval" / "policy.yaml"
    data = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    data["retrievers"]["documents"].update(retriever)
    data["embedders"] = {"grams": {"kind": "hashed_ngrams", "dimensions": 64}}
    (at / "policy.yaml").write_text(yaml.safe_dump(data))
    return at / "policy.yaml"


def test_a_policy_searches_its_index_by_the_embedder_it_names(tmp_path: Path) -> None:
    made(tmp_path / "docs.index", folder(tmp_path / "docs", {"a.md": "# Places\nSkarnvik is a city in Norway."}))
    gateway = load_gateway(str(policy(tmp_path, embedder="grams")))
    outcome, trace = gateway.ask(Question.from_text("Where is Skarnvik?"))
    gateway.close()
    assert outcome.text == "Norway"
    asked = [(entry.kind, [p.source for p in entry.passages or ()]) for entry in trace.tape if entry.kind != "generate"]
    assert asked == [("embed", []), ("retrieve", ["docs/a.md"])]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"path": "gone.index"}, "gone.index: there is no such index: 'gate index FOLDER --out INDEX' makes one"),
        ({"embedder": "other"}, "policy.yaml:.*unknown embedder 'other'"),
        ({"embedder": "wide"}, "name the embedder it was made with, or index anew with --rebuild"),
        ({"reranker": "model"}, r"there is no folder '.*model'"),
        ({"lexcial": 2}, "policy.yaml:.*lexical"),
    ],
)
def test_a_policy_whose_index_cannot_be_used_is_refused(
    tmp_path: Path, options: dict[str, object], complaint: str
) -> None:
    made(tmp_path / "docs.index", folder(tmp_path / "docs", {"a.md": "text"}))
    path = policy(tmp_path, **options)
    text = path.read_text().replace("embedders:\n", "embedders:\n  wide: {kind: hashed_ngrams, dimensions: 128}\n")
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_gateway(str(path))
