"""Preference pairs for training: two texts for the same input, the higher rated one first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two texts for one prompt."""

    prompt: str
    chosen: str
    rejected: str


def preference_pairs(rows: Iterable[Mapping[str, Any]]) -> Iterator[Pair]:
    """Yield the pairs in ratings of one tenant: for each input its best text with every text that is rated lower.

    An input is an offer for one person: texts for other people are never compared, as they were never alternatives.
    Only rows whose consent allows training count. A text's rating is the mean of its ratings.
    """
    inputs: dict[tuple[str, str | None], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    prompts: dict[tuple[str, str | None], str] = {}
    for row in rows:
        text, output = row["response"], row["output_id"]
        if row["kind"] != "rating" or not text or not output or not row["consent_train"]:
            continue
        if row["quarantined"] is None and row["satisfaction"] is not None:
            # Two people's ratings of two texts say who is easier to please, not which text is better.
            key = output, row["person"]
            inputs[key][text].append(row["satisfaction"])
            prompts[key] = row["query"] or f"offer_id: {output}"
    for key, texts in inputs.items():
        means = {text: sum(said) / len(said) for text, said in texts.items()}
        best = max(means, key=lambda text: means[text])
        for text, mean in means.items():
            # Equal ratings state no preference, and a pair from them would teach noise.
            if mean < means[best]:
                yield Pair(prompt=prompts[key], chosen=best, rejected=text)
