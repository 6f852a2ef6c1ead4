"""Redaction of 1 KB of text: what a clean comment costs at intake, and what one full of personal data costs.

The clean text is what people write about a product that answers questions: prose with times, versions, order
numbers, timestamps and ids, all of which have to survive. The dense one has 16 finds, at least one of every kind, in 1 KB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Final

from loopwright.texts.redact import Rules

SIZE: Final = 1024
KEY: Final = bytes(range(32))

CLEAN: Final = (
    "The answer about order 48213 was nearly right, but the delivery date was wrong: it said 2026-11-05 and "
    "the parcel came on the 12th, at 14:30. I asked twice (about 25 seconds apart) and the second answer, from "
    "version 2.3.4567 of the assistant, quoted the right page. The request was "
    "550e8400-e29b-41d4-a716-446655440000 at 1712345678901, in case that helps you find it in the log. My "
    "colleague saw the same thing with PO-4500012345 last week: it took 3,5 s for the first word and then "
    "stopped. Please make it say when it is not sure; a wrong date costs us more than no date at all. Apart "
    "from that we like it: the summaries are short, the tone is good, and it knows our 30-day return rule. "
    "One more wish: let me copy the table as CSV, not only as an image. Using v1.12.0 in the browser, zoomed "
    "to 125%. Thanks to the whole team, and keep up the good work with the new search on the start page! "
)

DENSE: Final = (
    "Please call me back on +49 30 1234567, or (212) 555-0199 after six, or mail jane.doe+shop@mail.example.co.uk "
    "and copy bob@example.com, who knows the case. Card 4111 1111 1111 1111 was charged twice, so refund it to DE89 "
    "3704 0044 0532 0130 00, please. We came from 192.168.1.17 and 2001:db8::8a2e:370:7334. In the log of that "
    "evening I found AKIAIOSFODNN7EXAMPLE and ghp_a1B2c3D4e5F6a7B8c9D0e1F2a3B4c5D6e7F8, then "
    "sk-proj-abcdefghij0123456789ABCD next to Authorization: Bearer abcdef0123456789abcdef and the session "
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U "
    "from lw_0123456789ab_abcdefghijklmnop012345; surely nobody meant to print those. It all happened around "
    "1712345678901, for order 48213, with version 2.3.4567 of the app. Our office at 020 7946 0958 is open until "
    "17:30 and jane.doe+shop@mail.example.co.uk is read at night. Thank you for being so quick about all of it, "
    "and do tell us when the next version is out, because we would like to try it with the whole team! "
)


def per_text_us(text: str, *, rounds: int, inner: int = 200) -> float:
    """Return the median microseconds that one redaction of `text` takes."""
    redact = Rules().redact
    taken: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        for _ in range(inner):
            redact(text, KEY)
        taken.append((time.perf_counter_ns() - begun) / inner / 1000)
    return statistics.median(taken)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both texts in turns and print the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 9 if parser.parse_args(argv).quick else 31
    clean, dense = ((text * 2)[:SIZE] for text in (CLEAN, DENSE))
    found = Rules().redact(dense, KEY).counts
    kept = Rules().redact(clean, KEY)
    if kept.counts or kept.text != clean:
        raise SystemExit(f"the clean text is not clean: {kept.counts}")
    print("dense:", ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())))
    figures = {
        "redact_clean_us": round(per_text_us(clean, rounds=rounds), 1),
        "redact_dense_us": round(per_text_us(dense, rounds=rounds), 1),
        "dense_finds": sum(found.values()),
    }
    print(json.dumps({"bench": "redact", "figures": figures}))


if __name__ == "__main__":
    main()
