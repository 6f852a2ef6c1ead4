"""The calls as methods, each listed once: on a blocking group it returns the answer, on an asynchronous one it is
awaited.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from . import calls, control, datasets, limits, rolling, triggering
from .exchange import Call, Done, Terms

P = ParamSpec("P")
T = TypeVar("T")


class Group:
    """Calls that belong together, on a blocking client."""

    def __init__(self, terms: Terms, run: Callable[[Call[Any] | Done[Any]], Any]) -> None:
        self.terms = terms
        self.run = run


class AsyncGroup:
    """Calls that belong together, on an asynchronous client."""

    def __init__(
        self, terms: Terms, run: Callable[[Call[Any] | Done[Any]], Awaitable[Any]]
    ) -> None:
        self.terms = terms
        self.run = run


class method(Generic[P, T]):
    """Turns a function of `calls` or `control` into a method with the same arguments and documentation.

    It is a descriptor, because only the instance says whether the answer is returned or awaited.
    """

    def __init__(self, build: Callable[Concatenate[Terms, P], Call[T] | Done[T]]) -> None:
        self.build = build
        # Editors and `help` read the class, where no method has been bound yet.
        self.__doc__ = build.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, group: AsyncGroup, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, group: Group | AsyncGroup | None, owner: type) -> Any:
        """Return the method of `group`, which keeps it: the next look-up does not come here."""
        if group is None:
            return self
        bound = (
            _blocking(group, self.build)
            if isinstance(group, Group)
            else _awaiting(group, self.build)
        )
        # A descriptor without `__set__` yields to the instance's dictionary, so this is the cache.
        group.__dict__[self._name] = bound
        return bound


def _blocking(group: Group, build: Callable[Concatenate[Terms, P], Call[T] | Done[T]]) -> Any:
    @functools.wraps(build)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        return group.run(build(group.terms, *args, **kwargs))

    return call


def _awaiting(group: AsyncGroup, build: Callable[Concatenate[Terms, P], Call[T] | Done[T]]) -> Any:
    @functools.wraps(build)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        # Built inside the coroutine, so wrong arguments are raised at the `await`, as every other error.
        return await group.run(build(group.terms, *args, **kwargs))

    return call


class _Agent:
    """Select arms and send feedback."""

    select = method(calls.select)
    feedback = method(calls.feedback)
    feedback_batch = method(calls.feedback_batch)


class _Experiments:
    """Create experiments, move them through their life, see how they do."""

    create = method(control.create_experiment)
    update = method(control.update_experiment)
    define = method(control.define_experiment)
    get = method(control.get_experiment)
    list = method(control.list_experiments)
    start = method(control.start_experiment)
    pause = method(control.pause_experiment)
    resume = method(control.resume_experiment)
    end = method(control.end_experiment)
    status = method(control.experiment_status)
    advice = method(control.experiment_advice)
    add_arm = method(control.add_arm)
    change_arm = method(control.change_arm)


class _Feedback:
    """Send feedback of every kind, interactions and steps; read the quality report."""

    send = method(calls.send_feedback)
    interactions = method(calls.send_interactions)
    steps = method(calls.send_steps)
    quality = method(calls.quality_report)
    raw = method(calls.raw_copy)
    trust = method(calls.trust_view)
    release = method(calls.release_burst)
    withdraw = method(calls.withdraw_release)
    timezone = method(calls.timezone)
    set_timezone = method(calls.set_timezone)


class _Exports:
    """Export tables page by page."""

    page = method(calls.export_page)


class _Keys:
    """Create, list, rotate and revoke keys."""

    create = method(control.create_key)
    list = method(control.list_keys)
    rotate = method(control.rotate_key)
    revoke = method(control.revoke_key)
    rotate_signing = method(control.rotate_signing_key)


class _Tenants:
    """Create tenants, set their quotas, see what they use."""

    create = method(control.create_tenant)
    list = method(control.list_tenants)
    set_quotas = method(control.set_quotas)
    usage = method(control.tenant_usage)


class _Datasets:
    """Build data sets, check and export them."""

    build = method(datasets.build_dataset)
    get = method(datasets.get_dataset)
    list = method(datasets.list_datasets)
    export = method(datasets.export_dataset)
    verify = method(datasets.verify_dataset)
    diff = method(datasets.diff_datasets)
    expire = method(datasets.expire_dataset)


class _Limits:
    """Set limits, ask them, report overload."""

    put = method(limits.put_limit)
    status = method(limits.limit_status)
    list = method(limits.list_limits)
    delete = method(limits.delete_limit)
    acquire = method(limits.acquire)
    report = method(limits.report_load)


class _Versions:
    """Register versions, compare them, see where they come from."""

    add = method(rolling.add_version)
    get = method(rolling.get_version)
    list = method(rolling.list_versions)
    diff = method(rolling.diff_versions)
    lineage = method(rolling.version_lineage)


class _Rollouts:
    """Begin rollouts, see how they stand, move them by hand."""

    begin = method(rolling.begin_rollout)
    list = method(rolling.list_rollouts)
    report = method(rolling.rollout_report)
    hold = method(rolling.hold_rollout)
    resume = method(rolling.resume_rollout)
    approve = method(rolling.approve_rollout)
    roll_back = method(rolling.roll_back)
    cancel = method(rolling.cancel_rollout)


class _Triggers:
    """Add triggers, see how they stand, what they started, and send again what failed."""

    add = method(triggering.add_trigger)
    list = method(triggering.list_triggers)
    report = method(triggering.trigger_report)
    remove = method(triggering.remove_trigger)
    enable = method(triggering.enable_trigger)
    disable = method(triggering.disable_trigger)
    secret = method(triggering.trigger_secret)
    firings = method(triggering.list_firings)
    deliveries = method(triggering.list_deliveries)
    send_again = method(triggering.send_again)


class Agent(_Agent, Group):
    """Select arms and send feedback."""


class AsyncAgent(_Agent, AsyncGroup):
    """Select arms and send feedback."""


class Experiments(_Experiments, Group):
    """Create experiments, move them through their life, see how they do."""


class AsyncExperiments(_Experiments, AsyncGroup):
    """Create experiments, move them through their life, see how they do."""


class Feedback(_Feedback, Group):
    """Send feedback of every kind, interactions and steps; read the quality report."""


class AsyncFeedback(_Feedback, AsyncGroup):
    """Send feedback of every kind, interactions and steps; read the quality report."""


class Keys(_Keys, Group):
    """Create, list, rotate and revoke keys."""


class AsyncKeys(_Keys, AsyncGroup):
    """Create, list, rotate and revoke keys."""


class Exports(_Exports, Group):
    """Export tables page by page."""


class AsyncExports(_Exports, AsyncGroup):
    """Export tables page by page."""


class Tenants(_Tenants, Group):
    """Create tenants, set their quotas, see what they use."""


class AsyncTenants(_Tenants, AsyncGroup):
    """Create tenants, set their quotas, see what they use."""


class Datasets(_Datasets, Group):
    """Build data sets, check and export them."""


class AsyncDatasets(_Datasets, AsyncGroup):
    """Build data sets, check and export them."""


class Limits(_Limits, Group):
    """Set limits, ask them, report overload."""


class AsyncLimits(_Limits, AsyncGroup):
    """Set limits, ask them, report overload."""


class Versions(_Versions, Group):
    """Register versions, compare them, see where they come from."""


class AsyncVersions(_Versions, AsyncGroup):
    """Register versions, compare them, see where they come from."""


class Rollouts(_Rollouts, Group):
    """Begin rollouts, see how they stand, move them by hand."""


class AsyncRollouts(_Rollouts, AsyncGroup):
    """Begin rollouts, see how they stand, move them by hand."""


class Triggers(_Triggers, Group):
    """Add triggers, see how they stand, what they started, and send again what failed."""


class AsyncTriggers(_Triggers, AsyncGroup):
    """Add triggers, see how they stand, what they started, and send again what failed."""
