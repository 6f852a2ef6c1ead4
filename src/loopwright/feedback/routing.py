"""Topics: which stream a fact belongs to and what keeps related facts in order there.

The names and keys are those of a message broker; in one process a topic is a counter and a list of subscribers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Literal

from loopwright.core.events import Fact, Interacted, Reported, Stepped
from loopwright.core.feedback import Correction, Measurement, Rating

Topic = Literal["feedback-events", "feedback-ratings", "feedback-corrections", "feedback-metrics"]

EVENTS: Final[Topic] = "feedback-events"
RATINGS: Final[Topic] = "feedback-ratings"
CORRECTIONS: Final[Topic] = "feedback-corrections"
METRICS: Final[Topic] = "feedback-metrics"
TOPICS: Final[tuple[Topic, ...]] = (EVENTS, RATINGS, CORRECTIONS, METRICS)

Subscriber = Callable[[str, Fact], None]
"""Gets the partition key and the fact, after the commit."""

_logger = logging.getLogger(__name__)


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


def key_of(topic: Topic, fact: Fact) -> str:
    """Return the partition key: ratings go by session, metrics by endpoint, all else by tenant.

    A rating without a session and a metric without an endpoint go by tenant too.
    """
    if isinstance(fact, Reported):
        if topic == RATINGS:
            return fact.note.session_id or fact.tenant_id
        if topic == METRICS:
            return fact.note.labels.get("endpoint") or fact.tenant_id
    return fact.tenant_id


class Router:
    """Counts facts by topic and hands them to subscribers."""

    def __init__(self) -> None:
        self.counts: dict[Topic, int] = dict.fromkeys(TOPICS, 0)
        self.failures = 0
        """Times that a subscriber raised; the fact is stored all the same."""
        self._subscribers: dict[Topic, list[Subscriber]] = {topic: [] for topic in TOPICS}

    def subscribe(self, topic: Topic, subscriber: Subscriber) -> None:
        """Call `subscriber` with every fact of `topic` from now on. It must not wait."""
        self._subscribers[topic].append(subscriber)

    def route(self, facts: Sequence[Fact]) -> int:
        """Hand over stored facts; return how many have a topic."""
        topics = [topic_of(fact) for fact in facts]
        for topic in TOPICS:
            self.counts[topic] += topics.count(topic)
        if any(self._subscribers.values()):
            for fact, found in zip(facts, topics, strict=True):
                if found is not None:
                    for subscriber in self._subscribers[found]:
                        self._tell(subscriber, key_of(found, fact), fact)
        return len(topics) - topics.count(None)

    def _tell(self, subscriber: Subscriber, key: str, fact: Fact) -> None:
        # Other people's code; what is stored stays stored.
        try:
            subscriber(key, fact)
        except Exception:
            self.failures += 1
            _logger.exception("a subscriber of feedback failed")
