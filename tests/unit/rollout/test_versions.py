from __future__ import annotations

import pytest
from tests.unit.rollout.conftest import Stand

from loopwright.core.errors import Conflict, Invalid, NotFound

DIGEST = "a" * 64


def test_a_version_is_kept_as_it_was_given(stand: Stand) -> None:
    made = stand.loop.versions.add("v1", kind="prompt", content="Be brief.", reason="first")
    assert stand.loop.versions.get("v1") == made
    assert (made.actor, made.reason, len(made.digest)) == ("embedded", "first", 64)
    (fact,) = stand.audit("version/v1")
    assert (fact.action, fact.detail["digest"]) == ("register", made.digest)


def test_the_same_again_is_the_same_and_other_content_is_a_conflict(stand: Stand) -> None:
    made = stand.loop.versions.add("v1", kind="prompt", content={"a": 1, "b": 2})
    assert stand.loop.versions.add("v1", kind="prompt", content={"b": 2, "a": 1}) == made
    with pytest.raises(Conflict, match="versions never change"):
        stand.loop.versions.add("v1", kind="prompt", content={"a": 2})
    assert len(stand.audit("version/v1")) == 1


def test_a_reference_needs_its_digest(stand: Stand) -> None:
    with pytest.raises(Invalid, match="without a digest"):
        stand.loop.versions.add("m", kind="model", reference="s3://models/m")
    made = stand.loop.versions.add("m", kind="model", reference="s3://models/m", digest=DIGEST)
    assert made.digest == DIGEST


def test_content_or_a_reference_but_not_both_and_not_neither(stand: Stand) -> None:
    for members in ({}, {"content": "x", "reference": "y", "digest": DIGEST}):
        with pytest.raises(Invalid, match="either content or a reference"):
            stand.loop.versions.add("v", kind="prompt", **members)


def test_a_stated_digest_must_be_that_of_the_content(stand: Stand) -> None:
    with pytest.raises(Invalid, match="states the digest"):
        stand.loop.versions.add("v", kind="prompt", content="x", digest=DIGEST)


def test_content_that_is_too_large_is_to_be_registered_by_reference(stand: Stand) -> None:
    with pytest.raises(Invalid, match="register a reference"):
        stand.loop.versions.add("v", kind="prompt", content="x" * 300_000)


def test_parents_must_be_registered_first(stand: Stand) -> None:
    for parent in ("nope", "v"):
        with pytest.raises(Invalid, match="not registered"):
            stand.loop.versions.add("v", kind="prompt", content="x", parents=[parent])


def test_a_kind_that_there_is_not_is_refused(stand: Stand) -> None:
    with pytest.raises(Invalid):
        stand.loop.versions.add("v", kind="poem", content="x")


def test_lineage_answers_both_ways_with_data_sets_and_arms(stand: Stand) -> None:
    add = stand.loop.versions.add
    add("base", kind="model", reference="s3://base", digest=DIGEST)
    add("tuned", kind="finetune", reference="s3://t", digest=DIGEST, parents=["base"], dataset="d1")
    add("prompt", kind="prompt", content="Hi.")
    add("both", kind="tool", content={}, parents=["tuned", "prompt"])
    stand.loop.experiments.create("serving", arms=[{"id": "a", "version": "both"}])
    found = stand.loop.versions.lineage("tuned")
    assert [(link.id, link.distance) for link in found.links] == [
        ("base", -1),
        ("tuned", 0),
        ("both", 1),
    ]
    assert found.links[1].dataset == "d1"
    assert found.links[2].arms == ("serving/a",)
    gone = stand.services.reports.versions.of_dataset("default", "d1")
    assert {version.id for version in gone} == {"tuned", "both"}
    with pytest.raises(NotFound):
        stand.loop.versions.lineage("nope")


def test_a_diff_shows_the_lines_of_a_prompt(stand: Stand) -> None:
    stand.loop.versions.add("v1", kind="prompt", content="Be brief.\nBe kind.")
    stand.loop.versions.add("v2", kind="prompt", content="Be brief.\nName sources.", parents=["v1"])
    found = stand.loop.versions.diff("v1", "v2")
    assert not found.is_same
    assert found.lines[-2:] == ("-Be kind.", "+Name sources.")
    assert found.members["parents"] == ((), ("v1",))
    assert stand.loop.versions.diff("v1", "v1").is_same


def test_a_list_is_of_one_kind_and_of_one_tenant(stand: Stand) -> None:
    stand.loop.versions.add("p", kind="prompt", content="x")
    stand.loop.versions.add("t", kind="tool", content="x")
    assert [v.id for v in stand.loop.versions.list(kind="tool").items] == ["t"]
    assert len(stand.loop.versions.list().items) == 2
    assert stand.services.reports.versions.list("other").items == ()
    with pytest.raises(NotFound):
        stand.services.reports.versions.get("other", "p")
