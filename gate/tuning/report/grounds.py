"""The sections of a report that say why: signals and their weights, mistakes, the certificate, how to read it all."""

from __future__ import annotations

from collections.abc import Iterator

from gate.tuning.evaluate import FALSE_ALARMS, ConfidentWrong
from gate.tuning.report.contents import Example, Report, StageSignals
from gate.tuning.report.markup import Html, bar, element, facts, folded, joined, named, table, theirs, words
from gate.tuning.report.wording import UNKNOWN, at_most, count, counted, number, percent, promised, signed


def signals(report: Report) -> Iterator[Html]:
    measured = report.evaluation.signals
    if not measured:
        yield words("The policy uses no signals, or none were recorded.")
    else:
        rows = [
            (
                named(s.signal),
                bar(s.auroc, 1.0, number(s.auroc) if s.auroc is not None else "no ranking", mark=0.5),
                count(s.n),
                percent(s.missing),
            )
            for s in sorted(measured, key=lambda s: (-(s.auroc or 0.0), s.signal))
        ]
        caption = (
            "How well each signal alone ranks right drafts above wrong ones. The mark stands at 0.5: no better than a "
            "coin. “No ranking”: it is there for right drafts only, for wrong ones only, or for none."
        )
        yield table(caption, ("signal", "AUROC", "drafts that have it", "missing"), rows)
    if not report.stages:
        yield words("The calibrator keeps no weights to show.")
        return
    yield element("h3", "What the calibrator makes of them")
    yield words(
        "Weight: what one standard deviation of the signal adds to the log-odds of being right. Moved: by how much it "
        "moved them on average, in the questions that ended there. If missing: what its absence takes away."
    )
    for place, stage in enumerate(sorted(report.stages, key=lambda s: (-s.n, s.stage))):
        yield _stage(stage, shown=place == 0)


def _stage(stage: StageSignals, *, shown: bool) -> Html:
    largest = max((s.weight for s in stage.signals), default=0.0)
    moved = max((s.contribution or 0.0 for s in stage.signals), default=0.0)
    rows = [
        (
            named(s.signal),
            bar(s.weight, largest, f"{s.weight:.2f}"),
            bar(s.contribution, moved, UNKNOWN if s.contribution is None else f"{s.contribution:.2f}"),
            signed(s.missing),
        )
        for s in sorted(stage.signals, key=lambda s: (-s.weight, s.signal))
    ]
    heads = ("signal", "weight", "moved", "if missing")
    caption = joined(("Stage ", named(stage.stage), f", fitted on {counted(stage.n, 'labelled answer')}."))
    return folded(element("span", "Stage ", named(stage.stage)), table(caption, heads, rows), shown=shown)


def confident_wrong(report: Report) -> Iterator[Html]:
    slices = report.evaluation.confident_wrong
    if not report.evaluation.labelled:
        yield words("There are no labels, so wrong answers of high confidence cannot be found.")
        return
    yield words("Some wrong answers come with high confidence: the ones a threshold cannot stop.")
    yield element("ul", *(element("li", _slice_in_words(s)) for s in slices))
    shown = [s for s in slices if s.wrong]
    if not shown:
        return
    names = [c.signal for c in shown[0].catches]
    if not names:
        yield words("No signals were recorded that could have caught them.")
        return
    rates = [{c.signal: c for c in s.catches} for s in shown]
    rows = [
        (
            named(name),
            *(
                bar(r[name].rate, 1.0, percent(r[name].rate) if r[name].rate is not None else "not there")
                for r in rates
            ),
        )
        for name in sorted(names, key=lambda name: (-(rates[-1][name].rate or 0.0), name))
    ]
    caption = (
        f"How many of them each signal alone would have caught, if it may accuse {promised(FALSE_ALARMS)} of the right "
        "drafts of the same confidence."
    )
    yield table(caption, ("signal", *(f"confidence {s.above:g} or more" for s in shown)), rows)


def _slice_in_words(part: ConfidentWrong) -> str:
    if not part.wrong:
        return f"No wrong draft had a confidence of {part.above:g} or more ({counted(part.right, 'right one')} had)."
    return (
        f"{counted(part.wrong, 'wrong draft')} had a confidence of {part.above:g} or more: {percent(part.of_wrong)} of "
        f"all wrong drafts, {percent(part.of_labelled)} of the labelled ones. "
        f"{counted(part.right, 'right draft')} had it too."
    )


def examples(report: Report) -> Iterator[Html]:
    if not report.examples:
        yield words("No examples were given.")
        return
    yield words("The most confident mistakes first. Look for what they have in common.")
    yield element("ol", *map(_example, report.examples), class_="examples")


def _example(shown: Example) -> Html:
    tag = {True: ("right", "right"), False: ("wrong", "wrong"), None: ("not labelled", "")}[shown.correct]
    sure = "no confidence" if shown.p is None else f"confidence {shown.p:.3f}"
    head = element("h3", element("span", tag[0], class_=f"tag {tag[1]}".strip()), element("span", sure))
    rows = [("question", theirs(shown.question)), ("answer", theirs(shown.answer))]
    if shown.contributions:
        added = (element("li", named(c.signal), f"\u00a0{signed(c.log_odds)}") for c in shown.contributions)
        rows.append(("log-odds", element("ul", *added, class_="adds")))
    rows.append(("id", named(shown.id)))
    pairs = joined(part for name, value in rows for part in (element("dt", name), element("dd", value)))
    return element("li", head, element("dl", pairs))


def certificate(report: Report) -> Iterator[Html]:
    held = report.certificate
    if held is None:
        yield words("There is no certificate: the promise has not been shown on held-out questions.")
        return
    for reason in report.void:
        yield element("p", element("b", "Void: "), theirs(reason))
    yield facts(
        (
            ("target risk (alpha)", promised(held.alpha)),
            ("chance to be mistaken (delta)", promised(held.delta)),
            ("held-out questions", count(held.n)),
            ("answers let through", count(held.answered)),
            ("of them wrong", count(held.errors)),
            ("upper limit of this policy by itself", at_most(held.bound)),
            ("segment", theirs(held.segment) if held.segment else "all"),
            ("date", theirs(held.date, 40) if held.date else UNKNOWN),
        )
    )
    rows = [(named(part), named(mark)) for part, mark in sorted(held.fingerprints.items())]
    if rows:
        caption = "Fingerprints of what ran. When one differs from what runs now, the certificate is void."
        yield table(caption, ("part", "fingerprint"), rows, numeric=2)
    else:
        yield words("The certificate names no fingerprints, so it cannot be tied to what runs.")


def notes(report: Report) -> Iterator[Html]:
    listed = (*report.evaluation.notes, *report.notes)
    if listed:
        yield element("ul", *(element("li", theirs(note, 1000)) for note in listed))
    else:
        yield words("None.")


def how_to_read(report: Report) -> Iterator[Html]:
    sure = promised(report.evaluation.confidence)
    yield words(
        "Coverage is the share of questions that get an answer; the risk is the share of wrong ones among those "
        f"answers. With {sure} confidence the true value, for traffic like these questions, lies within an interval, "
        "and below a limit. A promise is kept when the limit of held-out questions is no higher than promised. "
        "“Not known” means that there was nothing to compute it from, never zero. Numbers of small groups move much by "
        "chance: read the interval before the number. A certificate speaks of what ran when it was made; with other "
        "models, prompts or traffic it says nothing."
    )
