"""The requests of the control plane, as they leave."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.client import control
from loopwright.client.exchange import ONCE, Call, Terms
from loopwright.core.errors import Invalid

TERMS = Terms(base_url="http://loop")
EXPERIMENT = b'{"id":"x","tenant_id":"default","arms":[{"id":"a"},{"id":"b"}]}'


def sent(call: Call[Any]) -> tuple[str, str, Any]:
    return call.method, call.path, None if call.body is None else msgspec.json.decode(call.body)


def test_short_forms_are_written_out() -> None:
    call = control.create_experiment(TERMS, "x", arms=["a", {"id": "b"}], dimension=3)
    method, path, body = sent(call)
    assert (method, path) == ("POST", "/api/v1/experiments")
    assert body["arms"] == [{"id": "a"}, {"id": "b"}]
    assert body["policy"] == {"name": "auto"}
    assert body["context"] == {"dimension": 3}
    assert not {"gate", "trust"} & body.keys()


def test_a_new_experiment_is_started_by_the_call_that_follows() -> None:
    call = control.create_experiment(TERMS, "x", arms=["a", "b"])
    assert call.then is not None
    started = call.then(call.read(EXPERIMENT))
    assert started is not None
    assert sent(started)[:2] == ("POST", "/api/v1/experiments/x/start")


def test_a_draft_stays_one() -> None:
    call = control.create_experiment(TERMS, "x", arms=["a", "b"], start=False)
    assert call.then is not None
    assert call.then(call.read(EXPERIMENT)) is None


@pytest.mark.parametrize(
    ("build", "move"),
    [
        (control.start_experiment, "start"),
        (control.pause_experiment, "pause"),
        (control.resume_experiment, "resume"),
        (control.end_experiment, "end"),
    ],
)
def test_a_move_is_a_post_without_a_body(build: Any, move: str) -> None:
    assert sent(build(TERMS, "team/x")) == ("POST", f"/api/v1/experiments/team%2Fx/{move}", None)


def test_a_change_sends_only_what_is_to_change() -> None:
    call = control.change_arm(TERMS, "x", "a", state="disabled", max_share=0.5)
    assert sent(call) == (
        "PATCH",
        "/api/v1/experiments/x/arms/a",
        {"state": "disabled", "max_share": 0.5},
    )


def test_a_change_is_repeated_only_when_it_cannot_have_arrived() -> None:
    assert control.create_key(TERMS, scopes=["select"]).retry_on == ONCE
    assert control.list_keys(TERMS).retry_on > ONCE


def test_keys_are_listed_without_their_envelope() -> None:
    assert control.list_keys(TERMS).read(b'{"items":[{"id":"k"}]}') == [{"id": "k"}]


def test_one_scope_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(Invalid, match="give a list"):
        control.create_key(TERMS, scopes="select")


def test_a_definition_is_a_mapping() -> None:
    handed: Any = ["x"]
    with pytest.raises(Invalid, match="must be a mapping"):
        control.define_experiment(TERMS, handed)
