"""GitHub Actions as what a trigger starts: a workflow is dispatched over the REST API.

Reference: https://docs.github.com/rest/actions/workflows, "Create a workflow dispatch event".
"""

from __future__ import annotations

from typing import Final

import httpx

from loopwright.core.errors import Broken

TIMEOUT_S: Final = 10.0
_UNEXPECTED_INPUTS: Final = 422


class GitHubWorkflow:
    """A workflow of one repository."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        repo: str,
        workflow: str,
        ref: str,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._address = f"{url.rstrip('/')}/repos/{repo}/actions/workflows/{workflow}/dispatches"
        self._token = token
        self._ref = ref
        self._timeout_s = timeout_s
        self.name = f"github:{repo}/{workflow}@{ref}"

    def dispatch(self, reason: str) -> None:
        """Start the workflow with the input `reason`; raises `Broken` when GitHub does not take it."""
        answer = self._post({"ref": self._ref, "inputs": {"reason": reason}})
        if answer.status_code == _UNEXPECTED_INPUTS:
            # A workflow that declares no such input refuses it, and is to start all the same.
            answer = self._post({"ref": self._ref})
        if not answer.is_success:
            raise Broken(
                f"{self.name} was not started: GitHub answered {answer.status_code}; "
                "check the token's right to write actions, the repository, the workflow and the branch"
            )

    def _post(self, body: dict[str, object]) -> httpx.Response:
        headers = {
            "authorization": f"Bearer {self._token}",
            "accept": "application/vnd.github+json",
            # Pinned, because without it GitHub chooses the version.
            "x-github-api-version": "2022-11-28",
        }
        try:
            return httpx.post(self._address, json=body, headers=headers, timeout=self._timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Broken(f"{self.name} was not started: {error}") from error
