"""The role that products talk to: it selects arms and takes feedback."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from loopwright.app.keyring import KeyRing
from loopwright.app.settings import Settings
from loopwright.app.supervise import WAITS_ITSELF, Task
from loopwright.backends import resolve
from loopwright.core.ports import SnapshotStore
from loopwright.core.text import Redactor
from loopwright.core.token import Signer
from loopwright.feedback import Intake, Pipeline, Quarantine, TypedIntake
from loopwright.limiting.limits import Limits
from loopwright.policies import Snapshots
from loopwright.serving import Follower, Selector
from loopwright.texts.redact import Rules

from .truth import Truth


class Door:
    """Select and feedback over the snapshots that a learner publishes, and the keys that sign tokens."""

    def __init__(
        self,
        truth: Truth,
        settings: Settings,
        opened: ExitStack,
        *,
        snapshots: Snapshots,
        rng: random.Random,
    ) -> None:
        clock, ids = truth.clock, truth.ids
        self.ring = KeyRing(truth.folder, max_age_s=settings.token_max_age_s)
        self.selector = Selector(
            snapshots,
            self.ring.signer,
            offer=truth.writer.offer,
            find=truth.catalog.experiments.get,
            clock=clock,
            ids=ids,
            rng=rng,
            names=truth.people.units,
        )
        shielded = truth.people.units.decision
        self.intake = Intake(
            self.ring.signer,
            find=truth.catalog.experiments.get,
            clock=clock,
            ids=ids,
            shielded=shielded,
        )
        self.pipeline = Pipeline(
            self.ring.signer,
            find=truth.find,
            ids=ids,
            redactor=_redactor(settings),
            former=resolve.former_keys(truth.log),
            shielded=shielded,
        )
        # A rotation must reach all three: a token that the selector signs, both intakes must verify.
        self.ring.subscribe(self._sign_with)
        # NORMAL: a power failure may take the latest refusals, and their senders were told of each.
        self.quarantine_database = truth.database("quarantine", opened, synchronous="NORMAL")
        self.quarantine = Quarantine(self.quarantine_database)
        self.limits = _limits(truth)
        self.classifier_fell_back: Mapping[str, int] = {}
        """Texts that the rules classified because the endpoint could not, by reason."""
        if settings.classifier_url is not None:
            self._classify_by_endpoint(truth, settings, opened)
        self.typed_intake = TypedIntake(
            self.pipeline,
            people=truth.people,
            quarantine=self.quarantine,
            clock=clock,
            ids=ids,
            raw=truth.raw if settings.raw_copies else None,
            take=truth.catalog.meters.take,
        )

    def task(self) -> Task:
        """Return the background work of this role: limits read ratings, and move."""
        return Task(name="limits", run=self.limits.turn, pace=WAITS_ITSELF)

    def _classify_by_endpoint(self, truth: Truth, settings: Settings, opened: ExitStack) -> None:
        """Let an endpoint name the categories; the rules stand in while it cannot."""
        # Imported only when wanted: it brings an HTTP client, which a server otherwise does without.
        from loopwright.backends.endpoint import EndpointClassifier

        assert settings.classifier_url is not None
        key = settings.classifier_key
        endpoint = EndpointClassifier(
            settings.classifier_url,
            model=settings.classifier_model,
            fallback=self.pipeline.categories,
            clock=truth.clock,
            api_key=None if key is None else key.get_secret_value(),
            timeout_s=settings.classifier_timeout_s,
        )
        opened.callback(endpoint.close)
        self.pipeline.categories, self.pipeline.asks_others = endpoint, True
        self.classifier_fell_back = endpoint.fell_back

    def _sign_with(self, signer: Signer) -> None:
        self.selector.signer = self.intake.signer = self.pipeline.signer = signer


def _limits(truth: Truth) -> Limits:
    return Limits(
        truth.catalog_database,
        truth.catalog.journal,
        states=truth.state_database,
        consumers=truth.consumers,
        reader=truth.reader,
        append=truth.append,
    )


def following_tasks(store: SnapshotStore, snapshots: Snapshots) -> Sequence[Task]:
    """Return the background work of a door without a learner in its process; `snapshots` has all of `store` then.

    It is not vital: a door that cannot reach the store goes on with the snapshots that it has.
    """
    follower = Follower(store, snapshots)
    return [Task(name="snapshots", run=follower.turn, pace=WAITS_ITSELF)]


def _redactor(settings: Settings) -> Redactor:
    """Return the redactor of free text; raises `SettingsInvalid` when Presidio is asked for and not installed."""
    rules = Rules()
    if settings.redactor == "rules":
        return rules
    from loopwright.backends.presidio import PresidioRedactor  # takes seconds, so only on demand

    return PresidioRedactor(rules)
