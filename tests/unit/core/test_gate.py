from __future__ import annotations

import msgspec
import pytest

from loopwright.core.gate import Finding, Gate, Verdict


def test_the_reasons_are_the_sentences_that_decide() -> None:
    findings = (
        Finding(criterion="a", outcome="pass", sentence="a holds"),
        Finding(criterion="b", outcome="wait", sentence="b waits"),
    )
    assert Verdict(outcome="wait", findings=findings).reasons == ("b waits",)
    assert Verdict(outcome="pass", findings=findings[:1]).reasons == ("a holds",)


@pytest.mark.parametrize(
    "body",
    [
        b'{"alpha": 0.5}',
        b'{"alpha": 0}',
        b'{"least_units": 1}',
        b'{"guardrails": [{"metric": "m", "margin": 0}]}',
        b'{"safety": [{"metric": ""}]}',
        b'{"primry": null}',
    ],
    ids=["alpha half", "alpha 0", "one unit", "no margin", "no metric", "unknown member"],
)
def test_a_gate_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Gate)


def test_a_gate_without_members_asks_for_a_better_reward() -> None:
    gate = msgspec.json.decode(b"{}", type=Gate)
    assert gate.primary is not None
    assert gate.primary.metric == "reward"
