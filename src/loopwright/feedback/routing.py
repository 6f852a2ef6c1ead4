"""Topics: the stream of a message broker that a fact belongs to. In one process a topic is a counter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from loopwright.core.events import Fact, Interacted, Reported, Stepped
from loopwright.core.feedback import Correction, Measurement, Rating

Topic = Literal["feedback-events", "feedback-ratings", "feedback-corrections", "feedback-metrics"]

EVENTS: Final[Topic] = "feedback-events"
RATINGS: Final[Topic] = "feedback-ratings"
CORRECTIONS: Final[Topic] = "feedback-corrections"
METRICS: Final[Topic] = "feedback-metrics"
TOPICS: Final[tuple[Topic, ...]] = (EVENTS, RATINGS, CORRECTIONS, METRICS)


def topic_of(fact: Fact) -> Topic | None:
    """Return the topic of a fact; None for facts that are not feedback."""
    if type(fact) is Reported:
        return _TOPIC.get(type(fact.feedback), EVENTS)
    return EVENTS if isinstance(fact, Interacted | Stepped) else None


_TOPIC: Final[dict[type, Topic]] = {
    Rating: RATINGS,
    Correction: CORRECTIONS,
    Measurement: METRICS,
}


def key_of(topic: Topic, fact: Reported | Interacted | Stepped) -> str:
    """Return the partition key, which keeps related facts in order: a rating's session, a metric's endpoint.

    All other facts, and those without a session or an endpoint, go by tenant.
    """
    if isinstance(fact, Reported):
        if topic == RATINGS:
            return fact.note.session_id or fact.tenant_id
        if topic == METRICS:
            return fact.note.labels.get("endpoint") or fact.tenant_id
    return fact.tenant_id


class TopicCounts:
    """How many facts of each topic were stored since the start."""

    def __init__(self) -> None:
        self.counts: dict[Topic, int] = dict.fromkeys(TOPICS, 0)

    def count(self, facts: Sequence[Fact]) -> int:
        """Count stored facts; return how many have a topic."""
        topics = [topic_of(fact) for fact in facts]
        for topic in TOPICS:
            self.counts[topic] += topics.count(topic)
        return len(topics) - topics.count(None)
