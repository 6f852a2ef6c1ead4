from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.client.conftest import Act, ScriptedServer

from loopwright.backends.github import GitHubWorkflow
from loopwright.core.errors import Broken

PATH = "/repos/acme/models/actions/workflows/retrain.yml/dispatches"


@pytest.fixture
def github() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.otherwise = Act(204)
    yield server
    server.close()


def workflow(url: str) -> GitHubWorkflow:
    return GitHubWorkflow(
        url, token="made-up", repo="acme/models", workflow="retrain.yml", ref="main", timeout_s=5
    )


def test_a_dispatch_names_the_branch_and_the_reason(github: ScriptedServer) -> None:
    workflow(github.url + "/").dispatch("rating 2.9")
    ((method, path, headers, body),) = github.seen
    assert (method, path) == ("POST", PATH)
    assert body == {"ref": "main", "inputs": {"reason": "rating 2.9"}}
    assert headers["authorization"] == "Bearer made-up"
    assert headers["x-github-api-version"] == "2022-11-28"


def test_a_workflow_that_declares_no_reason_starts_without_one(github: ScriptedServer) -> None:
    github.script += [Act(422)]
    workflow(github.url).dispatch("why")
    assert [body for *_, body in github.seen] == [
        {"ref": "main", "inputs": {"reason": "why"}},
        {"ref": "main"},
    ]


@pytest.mark.parametrize("statuses", [(404,), (401,), (500,), (302,), (422, 422)])
def test_a_refusal_says_which_workflow_and_which_status(
    github: ScriptedServer, statuses: tuple[int, ...]
) -> None:
    github.script += [Act(status) for status in statuses]
    with pytest.raises(Broken) as refused:
        workflow(github.url).dispatch("why")
    assert "github:acme/models/retrain.yml@main" in refused.value.message
    assert f"answered {statuses[-1]}" in refused.value.message
    assert "made-up" not in refused.value.message
    assert len(github.seen) == len(statuses)


def test_nobody_there_and_an_address_that_is_none_are_errors_of_ours(
    github: ScriptedServer,
) -> None:
    github.script += [Act(hang_up=True)]
    for url in (github.url, "http://[", "ftp://x"):
        with pytest.raises(Broken, match="was not started"):
            workflow(url).dispatch("why")
