"""Policies to choose from, over HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from litestar import Controller, get

from loopwright import policies
from loopwright.core.reward import RewardType
from loopwright.web.guard import needs
from loopwright.web.problems import problems


class PolicyInfo(msgspec.Struct, frozen=True):
    """A policy, what it fits and what may be set."""

    name: str
    summary: str
    aliases: list[str]
    reward_types: list[str]
    context: str
    """`required`, `optional`, or `ignored`."""
    law: str
    """How its probabilities come about: `closed`, `quadrature` or `argmax`."""
    params: dict[str, Any]
    """Parameters with their defaults."""
    paper: str


class PolicyList(msgspec.Struct, frozen=True):
    """Every policy that can be chosen here, by name, and what `auto` stands for."""

    items: list[PolicyInfo]
    auto: dict[str, str]
    """By reward type; `context` for an experiment with one."""


class PoliciesController(Controller):
    """Policies to choose from."""

    path = "/api/v1/policies"
    tags: Sequence[str] = ("experiments",)

    @get(summary="List policies", responses=problems(), sync_to_thread=False, **needs("read"))
    def list(self) -> PolicyList:
        """Return every policy with its aliases, what it fits, and its parameters with their defaults."""
        auto = {
            kind: policies.resolve("auto", reward_type=kind, has_context=False)
            for kind in get_args(RewardType)
        }
        auto["context"] = policies.resolve("auto", reward_type="bounded", has_context=True)
        items = sorted(map(_policy_info, policies.specs()), key=lambda info: info.name)
        return PolicyList(items, auto)


def _policy_info(spec: policies.Spec) -> PolicyInfo:
    policy = policies.make(spec.name, {})
    return PolicyInfo(
        name=spec.name,
        summary=(inspect.getdoc(type(policy)) or "").partition("\n")[0],
        aliases=[*spec.aliases],
        reward_types=[*spec.reward_types],
        context=spec.context,
        law=spec.law,
        params=policies.params_of(policy),
        paper=spec.paper,
    )
