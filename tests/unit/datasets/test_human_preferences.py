"""The bundled human preferences go in as feedback and come out as training data, with every pair intact."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files

from tests.unit.datasets.conftest import Desk

from loopwright.texts.redact import Rules

TURN = "\n\nAssistant:"


def pairs() -> list[tuple[str, str, str]]:
    """Return prompt, chosen and rejected answer of each pair."""
    content = files("loopwright.data").joinpath("hh_harmless_a.jsonl.gz").read_bytes()
    found = []
    for line in gzip.decompress(content).splitlines():
        pair = json.loads(line)
        prompt, _, chosen = pair["chosen"].rpartition(TURN)
        same, _, rejected = pair["rejected"].rpartition(TURN)
        # In a few the answer before the last one differs too: these are two inputs.
        if prompt == same and chosen.strip() and rejected.strip():
            found.append((prompt.strip(), chosen.strip(), rejected.strip()))
    return found


def test_every_pair_of_the_bundled_preferences_comes_out_as_it_went_in(desk: Desk) -> None:
    known = pairs()
    assert len(known) > 1400
    said = []
    for n, (prompt, chosen, rejected) in enumerate(known):
        for value, text in (1, chosen), (0, rejected):
            said.append(
                {
                    "kind": "rating",
                    "scale": "thumbs",
                    "value": value,
                    "query": prompt,
                    "response": text,
                    "output_id": f"o{n}-{value}",
                    "event_id": f"e{n}-{value}",
                    "user_id": f"u{n}",
                }
            )
    desk.say(*said)
    made = desk.loop.datasets.build({"name": "hh", "splits": {"train": 1.0}})
    # What people wrote is redacted on the way in, and nothing else is changed.
    rules = Rules()
    key = desk.services.truth.people.key("default")

    def kept(text: str) -> str:
        return rules.redact(text, key).text

    expected = {
        (kept(p), kept(c), kept(r))
        for p, c, r in known
        if " ".join(kept(c).split()).casefold() != " ".join(kept(r).split()).casefold()
    }
    rows = desk.rows(made.id, format="trl")
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in rows} == expected
    assert made.rows == len(rows) > 1400
    assert made.length_ratio is not None
