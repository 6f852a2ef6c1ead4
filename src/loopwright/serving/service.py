"""Selecting an arm.

A select reads one immutable snapshot, draws one uniform number, signs the decision and hands it to the log
without waiting. Whatever the disk does, a select takes microseconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, ParamSpec, Protocol, TypeVar

import msgspec
from msgspec import Meta

from loopwright.core.clock import Clock
from loopwright.core.context import EMPTY, MAX_DIMENSION, Context, pack
from loopwright.core.decision import Decision, Mode
from loopwright.core.errors import ContextInvalid, ExperimentClosed, Invalid, LoopError, MaskEmpty
from loopwright.core.events import Decided
from loopwright.core.experiment import Experiment, ExperimentState
from loopwright.core.ids import Ids
from loopwright.core.token import Signer
from loopwright.policies import Draw, Published, ServedTogether, Snapshots

from .assign import Assigner, Assignment

P = ParamSpec("P")
T = TypeVar("T")


class Names(Protocol):
    """Makes pseudonyms of what a decision would otherwise keep of a person."""

    def name(self, tenant_id: str, id: str, /) -> str:
        """Return the pseudonym of the id of a unit or a context."""
        ...

    def metadata(self, tenant_id: str, metadata: dict[str, Any], /) -> dict[str, Any]:
        """Return a context's metadata with pseudonyms of the people it names."""
        ...


class SelectRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A request to choose an arm. `mask`, when given, lists the ids of the arms allowed this time."""

    experiment_id: str
    context: Context = EMPTY
    unit_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    mask: list[str] | None = None


class ArmView(msgspec.Struct, frozen=True):
    """The chosen arm, as the product sees it."""

    id: str
    payload: Any
    metadata: dict[str, Any]


class Selection(msgspec.Struct, frozen=True, gc=False):
    """The answer to a select: the arm, and the token to send feedback with."""

    request_id: str
    decision_id: str
    experiment_id: str
    arm: ArmView
    propensity: float
    snapshot: int
    mode: Mode = "live"
    rule: str | None = None
    """The rule of the experiment's gate that applied, `schedule` or `rollout`; None when none did."""

    # A client may fall back to a local default; code that asks must run without a server too.
    @property
    def is_fallback(self) -> bool:
        """Whether a local default stands in for an answer: never, without a server between."""
        return False

    @property
    def reason(self) -> str | None:
        """Why a local default stands in: None, as none does."""
        return None


class Selector:
    """Chooses arms from published snapshots.

    `offer` takes a decision for the log without blocking and says whether it was kept; a shed decision still
    has its token, so its feedback still joins. `find` returns an experiment or raises `NotFound`. The gate sees units
    as they came; what is signed and stored has pseudonyms, by `names`.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        signer: Signer,
        *,
        offer: Callable[[Decided], bool],
        find: Callable[[str, str], Experiment],
        clock: Clock,
        ids: Ids,
        rng: random.Random,
        names: Names,
    ) -> None:
        self.signer = signer
        self.shed: dict[tuple[str, str], int] = {}
        """Decision rows that the log could not take."""
        self.together: set[tuple[str, str]] = set()
        """Experiments, by tenant and id, for which one `select_many` costs less than as many selects."""
        # Bound once: a select takes microseconds, and each chain of attributes is a visible part of them.
        self._newest = snapshots.newest
        self._plans: dict[tuple[str, str], _Plan] = {}
        self._counts: dict[tuple[str, str], _Count] = {}
        self._offer = offer
        self._find = find
        self._now_ms = clock.now_ms
        self._new_id = ids
        self._uniform = rng.random
        self._name, self._metadata = names.name, names.metadata

    @property
    def selected(self) -> dict[tuple[str, str], int]:
        """Selects since the start, by tenant and experiment."""
        # A copy: a select on another thread may add its experiment during the iteration.
        return {key: count.n for key, count in list(self._counts.items())}

    def select(
        self,
        tenant_id: str,
        experiment_id: str,
        *,
        context: Context = EMPTY,
        unit_id: str | None = None,
        mask: Sequence[str] | None = None,
    ) -> Selection:
        """Return the chosen arm with its signed token.

        Raises `NotFound` or `ExperimentClosed` when the experiment does not serve, `ContextInvalid`,
        `MaskEmpty`, `NoArms`, or `Invalid` when the context is too large to travel in a token or the gate
        needs a `unit_id`.
        """
        plan = self._plan(tenant_id, experiment_id)
        # Before a number is drawn: a request with a bad vector or mask leaves the generator where it was.
        packed = plan.pack(context)
        allowed = None if mask is None else plan.positions(mask)
        now_ms = self._now_ms()
        mode: Mode = "live"
        rule: str | None = None
        if plan.assigner is None:
            draw = plan.served.select(packed, self._uniform(), mask=allowed)
        else:
            assigned = plan.assigner.assign(unit_id, context, now_ms=now_ms)
            mode, rule = assigned.mode, assigned.rule
            draw = plan.draw(assigned, unit_id, packed=packed, u=self._uniform(), allowed=allowed)
        return self._issue(
            plan, draw, context, unit_id=unit_id, packed=packed, now_ms=now_ms, mode=mode, rule=rule
        )

    def select_many(
        self, tenant_id: str, experiment_id: str, requests: Sequence[SelectRequest]
    ) -> list[Selection | LoopError]:
        """Return for each request what `select` would return or raise; all arms are drawn in one computation.

        Raises only the errors that concern all requests: `NotFound` and `ExperimentClosed`.
        """
        plan = self._plan(tenant_id, experiment_id)
        # A mask changes the law of one request, so a group with masks has no common matrix product.
        if plan.many is None or any(request.mask is not None for request in requests):
            return [_tried(self._answer, tenant_id, request) for request in requests]
        now_ms = self._now_ms()
        packed = [_tried(plan.pack, request.context) for request in requests]
        vectors = [vector for vector in packed if not isinstance(vector, LoopError)]
        # Only sound vectors get a number, as they would one by one: an invalid request shifts no other's draw.
        draws = iter(plan.many(vectors, [self._uniform() for _ in vectors]))
        return [
            vector
            if isinstance(vector, LoopError)
            else _tried(
                self._issue,
                plan,
                next(draws),
                request.context,
                unit_id=request.unit_id,
                packed=vector,
                now_ms=now_ms,
            )
            for request, vector in zip(requests, packed, strict=True)
        ]

    def _answer(self, tenant_id: str, request: SelectRequest) -> Selection:
        return self.select(
            tenant_id,
            request.experiment_id,
            context=request.context,
            unit_id=request.unit_id,
            mask=request.mask,
        )

    def _issue(
        self,
        plan: _Plan,
        draw: Draw,
        context: Context,
        *,
        unit_id: str | None,
        packed: bytes | None,
        now_ms: int,
        mode: Mode = "live",
        rule: str | None = None,
    ) -> Selection:
        """Sign the decision and hand it to the log."""
        tenant_id, experiment_id = plan.key
        arm = plan.arms[draw.arm]
        context_id, metadata = context.id, context.metadata
        if unit_id is not None:
            unit_id = self._name(tenant_id, unit_id)
        if context_id is not None:
            context_id = self._name(tenant_id, context_id)
        if metadata:
            metadata = self._metadata(tenant_id, metadata)
        decision = Decision(
            self._new_id(now_ms),
            tenant_id,
            experiment_id,
            arm.id,
            draw.propensity,
            plan.offset,
            now_ms,
            mode,
            unit_id,
            context_id,
            packed,
            metadata,
            rule,
        )
        # The token carries the whole decision: feedback joins it even when the log sheds the row.
        token = self.signer.sign(decision)
        if not self._offer(Decided(decision)):
            self.shed[plan.key] = self.shed.get(plan.key, 0) + 1
        plan.count.n += 1
        return Selection(
            token, decision.id, experiment_id, arm, draw.propensity, plan.offset, mode, rule
        )

    def _plan(self, tenant_id: str, experiment_id: str) -> _Plan:
        key = (tenant_id, experiment_id)
        published = self._newest.get(key)
        plan = self._plans.get(key)
        # A publication is immutable and replaced whole, so identity says whether the plan is current.
        if plan is not None and plan.published is published:
            return plan
        if published is None or published.experiment.state != "running":
            # An ended experiment would otherwise keep its last state in memory for ever.
            self._plans.pop(key, None)
            self.together.discard(key)
            raise self._closed(tenant_id, experiment_id)
        # Outside the plan: counts go on when a new snapshot replaces it.
        count = self._counts.setdefault(key, _Count())
        plan = self._plans[key] = _Plan(published, count)
        if plan.many is None:
            self.together.discard(key)
        else:
            self.together.add(key)
        return plan

    def _closed(self, tenant_id: str, experiment_id: str) -> ExperimentClosed:
        experiment = self._find(tenant_id, experiment_id)
        return ExperimentClosed(
            f"experiment {experiment_id!r} is {experiment.state}, and only a running one selects; "
            f"{_ADVICE[experiment.state]}",
            state=experiment.state,
        )


_ADVICE: Final[dict[ExperimentState, str]] = {
    "draft": "start it",
    "running": "its first snapshot is being made; try again",
    "paused": "resume it",
    "ended": "an end is for good: create a new experiment under another id, or use an arm of your choice",
}
"""What to do about a select on an experiment in each state."""


def _tried(act: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T | LoopError:
    """Return what `act` returns, or the error it raises, so that one request's error fails no other."""
    try:
        return act(*args, **kwargs)
    except LoopError as error:
        return error


class _Count:
    """How many selects an experiment has had. A cell, because a dictionary would hash the key for each select."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class _Plan:
    """The values that a select of one experiment needs, computed once per snapshot."""

    def __init__(self, published: Published, count: _Count) -> None:
        experiment = published.experiment
        self.published = published
        self.served = published.served
        self.offset = published.offset
        self.key = (experiment.tenant_id, experiment.id)
        self.count = count
        self.arms = [ArmView(a.id, a.payload, a.metadata) for a in experiment.arms]
        self.dimension = None if experiment.context is None else experiment.context.dimension
        self._index = {arm.id: position for position, arm in enumerate(experiment.arms)}
        targeting = experiment.targeting
        self.assigner = None if targeting is None else Assigner(targeting, experiment)
        # A gate with rules alone need not be sticky; then the law is drawn from anew for each request.
        self.sticky = self.assigner if targeting is not None and targeting.sticky else None
        served = published.served
        self.many = (
            # A gate looks at each unit and context by itself, so its requests are not drawn as a group.
            served.select_many if isinstance(served, ServedTogether) and targeting is None else None
        )

    def pack(self, context: Context) -> bytes | None:
        """Return the checked vector; None when there is none and none is needed."""
        vector = context.vector
        if vector is None:
            if self.dimension is None:
                return None
            raise ContextInvalid(
                f"context.vector is missing; this experiment expects {self.dimension} components",
                found=None,
                expected=self.dimension,
            )
        if self.dimension is not None:
            return pack(vector, dimension=self.dimension)
        # The policy reads no vector here; the decision keeps it for later analysis, within what a token can
        # carry.
        if not 0 < len(vector) <= MAX_DIMENSION:
            raise ContextInvalid(
                f"context.vector has {len(vector)} components; 1 to {MAX_DIMENSION} can be kept",
                found=len(vector),
            )
        return pack(vector, dimension=len(vector))

    def draw(
        self,
        assigned: Assignment,
        unit_id: str | None,
        *,
        packed: bytes | None,
        u: float,
        allowed: Sequence[int] | None,
    ) -> Draw:
        """Return the arm that the gate gives, or one drawn from the law: by the unit when it sticks, else by `u`."""
        draw = assigned.draw
        if draw is None:
            if self.sticky is None or unit_id is None:
                return self.served.select(packed, u, mask=allowed)
            return self.sticky.draw(self.served.law(packed, mask=allowed), unit_id)
        # Another arm instead would be logged with a probability at which nobody drew it.
        if allowed is not None and draw.arm not in allowed:
            raise MaskEmpty(
                f"mask leaves out '{self.arms[draw.arm].id}', the arm that the gate's {assigned.rule!r} gives "
                "to this unit; allow it, or change the gate",
                found=self.arms[draw.arm].id,
            )
        return draw

    def positions(self, mask: Sequence[str]) -> list[int]:
        """Return the positions of the arms that `mask` allows."""
        if not mask:
            raise MaskEmpty("mask is empty; name at least one arm, or leave it out to allow all")
        unknown = sorted(set(mask) - self._index.keys())
        if unknown:
            raise Invalid(
                f"mask names {', '.join(map(repr, unknown[:5]))}; this experiment's arms are "
                f"{', '.join(map(repr, self._index))}",
                found=unknown[:5],
            )
        # By position and without repetition: the order in which a caller lists a mask must not change the draw.
        return sorted({self._index[arm_id] for arm_id in mask})
