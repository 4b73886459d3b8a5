"""Drafts with their positions: as a collection holds them, and what watching them comes to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gate.assemble import assemble
from gate.calibration.prefix import AskedAt
from gate.prefix_watch import PrefixWatch
from gate.serving_settings import PrefixSettings
from gate.tuning.collection import Label
from gate.tuning.observing import labelled
from gate.tuning.prefix_drafts import PrefixDraft, Watched, drafts_of, scores_of, smoothed
from gate.types import Generation
from tests.test_prefix_watch import DOOMED, RECENT, SURE, UNSURE
from tests.test_prefix_watch import ROUND as WATCHED_ROUND
from tests.test_prefix_watch import draft as written
from tests.tuning.growing import ROUND, SENTENCES, collection_in, draft, policy_in

SAID = written(("It is so.", UNSURE), ("It is so.", SURE), ("It is not.", DOOMED), ("So it is", SURE))


def of(said: Generation, *, right: bool | None = True) -> PrefixDraft:
    return PrefixDraft.of(said, SENTENCES, question=3, round_key=WATCHED_ROUND, right=right, streamed=True)


def test_a_draft_is_its_positions() -> None:
    made = of(SAID)
    assert (made.characters, made.length) == (39, 12)
    assert (made.places.tolist(), made.tokens.tolist()) == ([9, 19, 30, 39], [3, 6, 9, 12])
    assert made.values.shape == (4, 14)
    assert made.readable.all()
    assert np.isnan(made.values[:, 3]).all(), "no alternatives, no margin"


def test_a_draft_without_log_probabilities_has_no_positions() -> None:
    made = of(Generation("It is so. So it is."))
    assert (len(made.tokens), made.length, made.readable.any()) == (0, 0, False)
    assert Watched(made, np.array([])).surest == -1.0
    assert Watched(made, np.array([])).least == 2.0


def test_what_watching_comes_to_is_what_the_watch_does() -> None:
    one = Watched(of(SAID), scores_of(of(SAID), RECENT))
    watch = PrefixWatch(RECENT, PrefixSettings(release_at=0.8, stop_below=0.2), WATCHED_ROUND)
    seen = [watch.grew(token.token, (token,)) for token in SAID.tokens or ()]
    assert one.sent(0.8, 0.2) == sum(len(each.release) for each in seen) == 19
    assert (one.released_at(0.8), one.stopped_at(0.2)) == (1, 2)
    assert (one.released_at(0.9999), one.stopped_at(1e-9)) == (None, None)
    assert one.saved(0.2) == 12 - 9
    assert one.saved(1e-9) == 0
    assert (one.surest, one.least) == pytest.approx((one.p[1], one.p[2]))
    assert one.sent(0.8, 0.9) == 0, "stopped before anything was sure"


def test_the_end_of_a_draft_is_the_verdicts() -> None:
    one = of(written(("It is so", SURE)))
    sure = Watched(one, scores_of(one, RECENT))
    assert sure.p.tolist()[-1] > 0.9
    assert (sure.surest, sure.least, sure.released_at(0.5), sure.stopped_at(1.0)) == (-1.0, 2.0, None, None)


def test_smoothing_passes_over_what_there_is_no_confidence_of() -> None:
    p = smoothed(np.array([math.nan, 0.4, math.nan, 0.8]), 0.75)
    assert p.tolist()[1::2] == pytest.approx([0.4, 0.7])
    assert np.isnan(p[::2]).all()


def test_where_a_whole_sentence_is_not_there_yet_nothing_can_be_sent() -> None:
    said = written(("It is so, and so on", SURE), ("So", SURE))
    tokens = AskedAt(positions="tokens", every=2)
    one = PrefixDraft.of(said, tokens, question=1, round_key=WATCHED_ROUND, right=True, streamed=True)
    assert one.places.tolist()[:-1] == [0, 0, 0]
    assert Watched(one, np.full(len(one.tokens), 0.99)).surest == -1.0


def test_of_a_collection_every_draft_with_its_label(tmp_path: Path) -> None:
    gateway = assemble(policy_in(tmp_path))
    with collection_in(tmp_path / "c.db", gateway, 6) as held:
        texts = [draft(place)[0].text for place in range(6)]
        held.label({("q2", texts[2]): Label(None, "auto")})
        found = list(drafts_of(labelled(held), gateway.plan, SENTENCES))
    assert [(each.question, each.round_key, each.streamed) for each in found] == [(n, ROUND, True) for n in range(6)]
    right: list[bool | None] = [draft(place)[1] for place in range(6)]
    right[2] = None
    assert [each.right for each in found] == right
    assert [each.characters for each in found] == list(map(len, texts))
