"""Policies by name: the built-in ones and those that other packages bring.

A package brings a policy with an entry point of group `loopwright.policies`, whose value is a callable that
takes the parameters as keywords and returns a policy:

    [project.entry-points."loopwright.policies"]
    MyPolicy = "my_package:MyPolicy"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final, cast

import msgspec

from loopwright.core.errors import PolicyMismatch
from loopwright.core.experiment import Experiment
from loopwright.core.reward import RewardType

from .adversarial import EXP3, FPL
from .base import Policy, Spec
from .greedy import EpsilonGreedy, Uniform
from .linear import LinThompson, LinUCB
from .thompson import BetaThompson, GaussianThompson
from .ucb import KLUCB, MOSS, MOSSAnytime, UCB1Tuned

GROUP: Final = "loopwright.policies"
AUTO: Final = "auto"

BUILT_IN: Final[tuple[type[Policy], ...]] = (
    BetaThompson,
    GaussianThompson,
    UCB1Tuned,
    KLUCB,
    MOSS,
    MOSSAnytime,
    LinUCB,
    LinThompson,
    EXP3,
    FPL,
    EpsilonGreedy,
    Uniform,
)


def make(name: str, params: Mapping[str, Any]) -> Policy:
    """Return the policy called `name` (any case, hyphens and underscores ignored).

    Raises `PolicyMismatch` when there is none, or when it does not take `params`.
    """
    kind = _find(name)
    try:
        # By conversion, because msgspec checks the bounds of parameters there and never in the constructor.
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            # The cast is what `check_policy` proves of a policy from elsewhere.
            return cast(Policy, msgspec.convert(dict(params), kind))
        return cast(Policy, kind(**params))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise PolicyMismatch(f"policy {name} does not take these parameters: {error}") from error


def resolve(name: str, *, reward_type: RewardType, has_context: bool) -> str:
    """Return the proper name of policy `name`; `auto` picks the default for the rewards and context.

    Raises `PolicyMismatch` when there is no such policy or it fits neither.
    """
    if _plain(name) == AUTO:
        # Thompson sampling is the default: its law spreads over all arms that may be best, so the log can answer
        # later questions.
        if has_context:
            return "LinThompson"
        return "BetaThompson" if reward_type == "binary" else "GaussianThompson"
    spec = spec_of(name)
    if reward_type not in spec.reward_types:
        raise PolicyMismatch(
            f"{spec.name} learns from {' or '.join(spec.reward_types)} rewards; this experiment's are "
            f"{reward_type}: declare another reward type or take the policy 'auto'",
            found=reward_type,
            expected=list(spec.reward_types),
        )
    if spec.context == "required" and not has_context:
        raise PolicyMismatch(
            f"{spec.name} needs a context; declare context.dimension or take the policy 'auto'"
        )
    return spec.name


def policy_of(experiment: Experiment) -> Policy:
    """Return the policy that learns for `experiment`; raises `PolicyMismatch` when it does not fit."""
    name = resolve(
        experiment.policy.name,
        reward_type=experiment.reward.type,
        has_context=experiment.context is not None,
    )
    return make(name, experiment.policy.params)


def spec_of(name: str) -> Spec:
    """Return the spec of the policy called `name`; raises `PolicyMismatch` when there is none."""
    spec: Spec = _find(name).spec
    return spec


def specs() -> list[Spec]:
    """Return the specs of all policies there are, built-in ones first."""
    found = [kind.spec for kind in BUILT_IN]
    return found + [entry.load().spec for entry in entry_points(group=GROUP)]


def _find(name: str) -> Any:
    wanted = _plain(name)
    if wanted == AUTO:
        raise PolicyMismatch("'auto' stands for a policy that fits an experiment; resolve it first")
    # Built-in names first: a package that is installed must not replace the policy behind a running experiment.
    for kind in BUILT_IN:
        spec: Spec = kind.spec
        if wanted in map(_plain, (spec.name, *spec.aliases)):
            return kind
    brought = entry_points(group=GROUP)
    for entry in brought:
        if _plain(entry.name) == wanted:
            return entry.load()
    known = [kind.spec.name for kind in BUILT_IN] + [entry.name for entry in brought]
    raise PolicyMismatch(
        f"there is no policy {name!r}; there are auto, {', '.join(known)}",
        found=name,
        expected=[AUTO, *known],
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
