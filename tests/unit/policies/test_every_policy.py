"""Every built-in policy keeps the promises of `check_policy`, and a broken one is caught."""

from __future__ import annotations

import pytest

from loopwright.policies import Uniform, make, specs
from loopwright.testing import check_policy


@pytest.mark.parametrize("name", [spec.name for spec in specs()])
def test_every_policy_keeps_the_common_promises(name: str) -> None:
    check_policy(lambda: make(name, {}), learns=name != "Uniform")


def test_a_policy_that_does_not_learn_is_caught() -> None:
    with pytest.raises(AssertionError, match="it learns"):
        check_policy(Uniform)
