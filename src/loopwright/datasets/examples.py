"""From facts about one input to the rows of a data set: honest pairs, or none. Pure.

A pair needs two answers to the same input. A correction is one by itself: the text that was written against the text that was
proposed. Of ratings, an answer is preferred to another when its mean is higher by the recipe's margin; thumbs are the two
ends. What has no partner is no pair, but a row of its own for the unpaired kinds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import msgspec

from loopwright.core.dataset import Recipe
from loopwright.core.errors import Invalid
from loopwright.texts.distance import edit_distance

from .rows import Row

POSITIVE, NEGATIVE = 0.75, 0.25
"""From and up to where a rating speaks for or against an answer: four stars, two stars."""


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row. Of the texts, a kind has `chosen` and `rejected`, or `completion`."""

    input: str
    """SHA-256 of what makes the input what it is."""
    prompt: str
    chosen: str | None = None
    rejected: str | None = None
    margin: float | None = None
    """Difference of the two mean ratings; 1 for a correction."""
    completion: str | None = None
    label: bool | None = None
    """Of an unpaired row, whether the answer was liked."""
    reward: float | None = None
    source: str = ""
    """correction, ratings, rating."""
    task: str | None = None
    prompt_version: str | None = None
    events: tuple[str, ...] = ()
    """The facts that it was made of."""


class Answer(msgspec.Struct):
    """One answer to one input, and what was said of it."""

    text: str
    said: list[float]
    events: list[str]
    first: Row


def examples(recipe: Recipe, rows: Sequence[Row], dropped: Counter[str]) -> Iterator[Example]:
    """Yield the rows of a data set from all usable facts about one input; count what was left out."""
    match recipe.kind:
        case "preference":
            made: Iterable[Example] = _distinct(
                [*_corrections(recipe, rows, dropped), *_rated_pairs(recipe, rows, dropped)],
                dropped,
            )
        case "kto":
            made = _unpaired(rows, dropped)
        case "sft":
            made = _demonstrations(recipe, rows, dropped)
        case "reward":
            made = _rewards(rows, dropped)
    for n, example in enumerate(made):
        if n >= recipe.per_input:
            dropped["per_input"] += 1
        else:
            yield example


def input_digest(key: str) -> str:
    """Return what stands for an input in rows and in `Recipe.exclude`."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _corrections(recipe: Recipe, rows: Sequence[Row], dropped: Counter[str]) -> Iterator[Example]:
    for row in rows:
        if row.kind != "correction":
            continue
        before, after = row.before_text or "", row.after_text or ""
        if not before.strip() or not after.strip():
            dropped["empty_text"] += 1
            continue
        if (changed := _changed(before, after)) is None or not (
            recipe.least_edit <= changed <= recipe.most_edit
        ):
            dropped["edit_size"] += 1
            continue
        yield _example(
            row,
            chosen=after,
            rejected=before,
            margin=1.0,
            source="correction",
            events=(row.event_id,),
        )


def _rated_pairs(recipe: Recipe, rows: Sequence[Row], dropped: Counter[str]) -> Iterator[Example]:
    # By mean and then by text, so that equal means come in one order whatever the log had first.
    answers = sorted(_answers(rows, dropped), key=lambda answer: (-_mean(answer), answer.text))
    for n, better in enumerate(answers):
        for worse in answers[n + 1 :]:
            margin = _mean(better) - _mean(worse)
            if margin < recipe.margin:
                dropped["margin"] += 1
            elif _alike(better.text, worse.text):
                dropped["near_identical"] += 1
            else:
                yield _example(
                    better.first,
                    chosen=better.text,
                    rejected=worse.text,
                    margin=margin,
                    source="ratings",
                    events=(*better.events, *worse.events),
                )


def _distinct(pairs: Sequence[Example], dropped: Counter[str]) -> Iterator[Example]:
    """Yield each pair once; of a pair and its reverse the earlier source, which weighs more, stays."""
    known: set[tuple[str | None, str | None]] = set()
    for pair in pairs:
        # Corrections are listed before ratings, so of two that contradict each other the stronger stays.
        if (pair.chosen, pair.rejected) in known:
            dropped["duplicate"] += 1
        elif (pair.rejected, pair.chosen) in known:
            dropped["contradictory"] += 1
        else:
            known.add((pair.chosen, pair.rejected))
            yield pair


def _unpaired(rows: Sequence[Row], dropped: Counter[str]) -> Iterator[Example]:
    for answer in _answers(rows, dropped):
        mean = _mean(answer)
        if NEGATIVE < mean < POSITIVE:
            dropped["undecided"] += 1
        else:
            yield _example(
                answer.first,
                completion=answer.text,
                label=mean >= POSITIVE,
                source="rating",
                events=tuple(answer.events),
            )
    for row in rows:
        if row.kind == "correction" and (row.after_text or "").strip():
            yield _example(
                row,
                completion=row.after_text,
                label=True,
                source="correction",
                events=(row.event_id,),
            )


def _demonstrations(
    recipe: Recipe, rows: Sequence[Row], dropped: Counter[str]
) -> Iterator[Example]:
    texts: set[str] = set()
    # Corrections first: a text that a person wrote shows more than one that was put up with.
    for pair in _corrections(recipe, rows, dropped):
        if pair.chosen is not None and pair.chosen not in texts:
            texts.add(pair.chosen)
            yield msgspec.structs.replace(
                pair, completion=pair.chosen, chosen=None, rejected=None, margin=None
            )
    for answer in _answers(rows, dropped):
        if _mean(answer) < POSITIVE:
            dropped["not_liked"] += 1
        elif answer.text in texts:
            dropped["duplicate"] += 1
        else:
            texts.add(answer.text)
            yield _example(
                answer.first, completion=answer.text, source="rating", events=tuple(answer.events)
            )


def _rewards(rows: Sequence[Row], dropped: Counter[str]) -> Iterator[Example]:
    for answer in _answers(rows, dropped):
        yield _example(
            answer.first,
            completion=answer.text,
            reward=_mean(answer),
            source="rating",
            events=tuple(answer.events),
        )


def _answers(rows: Sequence[Row], dropped: Counter[str]) -> list[Answer]:
    """Return the rated answers to one input, in the order in which they came."""
    found: dict[str, Answer] = {}
    voices: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.kind != "rating" or row.satisfaction is None:
            continue
        text = row.response or ""
        if not text.strip():
            dropped["empty_text"] += 1
            continue
        answer = found.setdefault(text, Answer(text, [], [], row))
        who = row.person or row.session_id or row.event_id
        if who in voices[text]:
            # One voice each: the first says it, as in the learner.
            dropped["same_voice"] += 1
            continue
        voices[text].add(who)
        answer.said.append(row.satisfaction)
        answer.events.append(row.event_id)
    return list(found.values())


def _example(row: Row, **members: object) -> Example:
    assert row.input is not None
    return Example(
        input=input_digest(row.input),
        prompt=row.query or "",
        task=row.task,
        prompt_version=row.prompt_version,
        **members,  # type: ignore[arg-type]
    )


def _mean(answer: Answer) -> float:
    return sum(answer.said) / len(answer.said)


def _changed(before: str, after: str) -> float | None:
    try:
        return edit_distance(before, after)
    except Invalid:
        # Too long to compare, so too long to tell a slip from another answer.
        return None


def _alike(first: str, second: str) -> bool:
    return " ".join(first.split()).casefold() == " ".join(second.split()).casefold()
