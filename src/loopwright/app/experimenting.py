"""Experiments of an embedded loop."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, structs

from loopwright.catalog.routes.experiments import NewExperiment
from loopwright.client import arguments
from loopwright.client.answers import ExperimentPage
from loopwright.client.arguments import text
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.experiment import Arm, ArmState, Caps, Experiment, PolicyChoice
from loopwright.core.reward import RewardSpec
from loopwright.core.status import Advice, Status
from loopwright.core.targeting import Targeting
from loopwright.learning.advice import advise

from .arguments import Part, checked

MOST: Final = 1000
"""Most experiments of a page, as over HTTP."""


class _Page(msgspec.Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=MOST)]
    cursor: str | None


class Experiments(Part):
    """Make experiments and move them through their life."""

    def create(
        self,
        id: str,
        *,
        arms: Sequence[Arm | Mapping[str, Any] | str],
        policy: PolicyChoice | Mapping[str, Any] | str = "auto",
        reward: RewardSpec | Mapping[str, Any] | str = "binary",
        dimension: int | None = None,
        explore_floor: float = 0.01,
        gate: Targeting | Mapping[str, Any] | None = None,
        trust: Caps | Mapping[str, int] | None = None,
        name: str = "",
        start: bool = True,
        exists_ok: bool = False,
    ) -> Experiment:
        """Create an experiment and, unless told otherwise, start it.

        `arms` are `Arm`s or bare ids; `reward` is a spec or just a type; `dimension` makes it contextual;
        `trust` caps what one person teaches. With `exists_ok` an experiment of that id that is already there comes
        back as it is, a draft started; without, it is a `Conflict`.
        """
        definition = {
            "id": id,
            "name": name,
            "arms": arguments.arms(arms),
            "policy": {"name": policy} if isinstance(policy, str) else policy,
            "reward": {"type": reward} if isinstance(reward, str) else reward,
            "context": None if dimension is None else {"dimension": dimension},
            "explore_floor": explore_floor,
            "gate": gate,
            "trust": trust,
        }
        return self.define(definition, start=start, exists_ok=exists_ok)

    def define(
        self, definition: Mapping[str, Any], *, start: bool = True, exists_ok: bool = False
    ) -> Experiment:
        """Create an experiment from a whole definition, such as one read from a file, and start it.

        With `exists_ok` one of that id that is already there comes back as it is, a draft started.
        """
        if not isinstance(definition, Mapping):
            raise Invalid(f"the definition is {arguments.shown(definition)}; it must be a mapping")
        # First by the shape of a definition: state and revision are not the caller's to set.
        given = checked(NewExperiment, **definition)
        # Shallow: the members are checked values already.
        members = structs.asdict(given) | {"arms": tuple(given.arms)}
        draft = Experiment(tenant_id=self._tenant_id, **members)
        try:
            # Not looked up first: another thread could create it between the look and this call.
            found = self._services.truth.catalog.experiments.create(draft, actor="embedded")
        except Conflict:
            if not exists_ok:
                raise
            found = self.get(draft.id)
        return self.start(draft.id) if start and found.state == "draft" else found

    def get(self, id: str) -> Experiment:
        """Return an experiment; raises `NotFound`."""
        return self._services.truth.catalog.experiments.get(self._tenant_id, text("id", id))

    def list(self, *, limit: int = MOST, cursor: str | None = None) -> ExperimentPage:
        """Return the tenant's experiments by id, ended ones too; `next_cursor` asks for more."""
        asked = checked(_Page, limit=limit, cursor=cursor)
        found = self._services.truth.catalog.experiments.all(self._tenant_id)
        rest = [each for each in found if asked.cursor is None or each.id > asked.cursor]
        items = tuple(rest[: asked.limit])
        return ExperimentPage(items, items[-1].id if len(rest) > len(items) else None)

    def status(self, id: str) -> Status:
        """Return how an experiment is doing: its arms with n, mean, interval and share."""
        # For its `NotFound`: the catalog decides which experiments there are.
        self.get(id)
        return self._services.learner.status(self._tenant_id, id)

    def advice(self, id: str) -> builtins.list[Advice]:
        """Return what is worth doing about an experiment, the most urgent first."""
        return advise(self.status(id), self.get(id))

    def start(self, id: str) -> Experiment:
        """Begin to select and to learn."""
        return self._move(id, "start")

    def pause(self, id: str) -> Experiment:
        """Stop selecting and learning; feedback is kept and trains at `resume`."""
        return self._move(id, "pause")

    def resume(self, id: str) -> Experiment:
        """Go on, first learning what arrived meanwhile."""
        return self._move(id, "resume")

    def end(self, id: str) -> Experiment:
        """Stop for good."""
        return self._move(id, "end")

    def add_arm(
        self,
        id: str,
        arm: Arm | Mapping[str, Any] | str,
        *,
        payload: Any = None,
        metadata: Mapping[str, Any] | None = None,
        min_share: float = 0.0,
        max_share: float = 1.0,
    ) -> Experiment:
        """Add an arm to a draft or running experiment; it takes the last position.

        `arm` is a whole arm, or an id that the other arguments describe.
        """
        members = arguments.arm(
            arm, payload=payload, metadata=metadata, min_share=min_share, max_share=max_share
        )
        return self._services.truth.catalog.experiments.add_arm(
            self._tenant_id, text("id", id), checked(Arm, **members), actor="embedded"
        )

    def change_arm(
        self,
        id: str,
        arm_id: str,
        change: ArmChange | Mapping[str, Any] | None = None,
        *,
        state: ArmState | None = None,
        min_share: float | None = None,
        max_share: float | None = None,
        payload: Any = UNSET,
        metadata: Mapping[str, Any] | None = None,
    ) -> Experiment:
        """Enable, disable or retire an arm, or change its shares, payload or metadata; what is left out stays.

        Give a whole `change`, or the other arguments.
        """
        members = arguments.arm_changes(
            change,
            state=state,
            min_share=min_share,
            max_share=max_share,
            payload=payload,
            metadata=metadata,
        )
        return self._services.truth.catalog.experiments.change_arm(
            self._tenant_id,
            text("id", id),
            text("arm_id", arm_id),
            checked(ArmChange, **members),
            actor="embedded",
        )

    def update(self, id: str, amendment: Amendment | Mapping[str, Any]) -> Experiment:
        """Change what may still be changed of an experiment; what `amendment` leaves out stays."""
        members = arguments.changes("amendment", amendment)
        return self._services.truth.catalog.experiments.update(
            self._tenant_id, text("id", id), checked(Amendment, **members), actor="embedded"
        )

    def _move(self, id: str, move: Any) -> Experiment:
        return self._services.truth.catalog.experiments.move(
            self._tenant_id, id, move, actor="embedded"
        )
