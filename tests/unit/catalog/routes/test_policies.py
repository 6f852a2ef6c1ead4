from __future__ import annotations

from tests.unit.catalog.routes.caller import Caller

from loopwright import policies


def test_policies_are_listed_with_what_they_fit_and_their_defaults(acme: Caller) -> None:
    listed = acme("GET", "/policies").json()
    by_name = {item["name"]: item for item in listed["items"]}
    assert list(by_name) == sorted(by_name)
    assert by_name["BetaThompson"]["reward_types"] == ["binary", "bounded"]
    assert "BetaTS" in by_name["BetaThompson"]["aliases"]
    assert by_name["BetaThompson"]["params"]
    assert all(item["summary"] and item["paper"] for item in listed["items"])
    assert listed["auto"]["binary"] == "BetaThompson"


def test_what_auto_stands_for_is_listed_for_every_type_of_reward_and_can_be_chosen(
    acme: Caller,
) -> None:
    listed = acme("GET", "/policies").json()
    by_name = {item["name"]: item for item in listed["items"]}
    assert set(listed["auto"]) == {"binary", "bounded", "continuous", "context"}
    for kind, name in listed["auto"].items():
        if kind == "context":
            assert by_name[name]["context"] == "required"
        else:
            assert kind in by_name[name]["reward_types"]


def test_every_default_that_is_listed_is_one_that_the_policy_takes(acme: Caller) -> None:
    for item in acme("GET", "/policies").json()["items"]:
        policies.make(item["name"], item["params"])
        for alias in item["aliases"]:
            assert policies.make(alias, {}).spec.name == item["name"]
