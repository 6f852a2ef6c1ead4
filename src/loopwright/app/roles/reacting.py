"""The role that reacts: standing triggers, and the deliveries of what they start."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, assert_never

from loopwright.app.keyring import write_private
from loopwright.app.settings import Settings
from loopwright.app.supervise import Pace, Task
from loopwright.backends.command import Commands
from loopwright.backends.github import GitHubWorkflow
from loopwright.backends.webhook import PREFIX, Webhooks
from loopwright.core.errors import LoopError, NotFound, SettingsInvalid
from loopwright.core.trigger import (
    Action,
    Command,
    GitHub,
    Sent,
    Trigger,
    TriggerDelivery,
    TriggerSecret,
    Webhook,
)
from loopwright.insights.service import Insights
from loopwright.rollout import Deliveries, Triggers
from loopwright.rollout.deliveries import message
from loopwright.warehouse import Warehouse

from .truth import Truth

KEY_FILE: Final = "webhooks.key"
KEY_BYTES: Final = 32
LOOK: Final = Pace(every_s=30.0)
"""How often conditions are looked at; what did not change since is left out."""
SEND: Final = Pace(every_s=1.0, retry_at_most_s=30.0)


class Reacting:
    """Looks at triggers, and carries out their actions."""

    def __init__(
        self,
        truth: Truth,
        settings: Settings,
        *,
        warehouse: Callable[[], Warehouse],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._truth = truth
        self._key = _key(settings.data_dir)
        self._webhooks = Webhooks(allow_private=settings.webhook_private)
        self._commands = Commands(settings.trigger_commands, stopping=stopping)
        self._workflow = workflow_of(settings)
        self.triggers = Triggers(
            truth.catalog_database,
            truth.catalog.journal,
            insights=lambda: Insights(warehouse(), clock=truth.clock),
            zone=truth.catalog.zones.of,
            head=truth.log.head,
            check_action=self._check,
        )
        self.deliveries = Deliveries(
            truth.catalog_database, truth.catalog.journal, send=self._send, stopping=stopping
        )

    def tasks(self) -> Sequence[Task]:
        """Return the background work of this role."""
        return [
            Task(name="triggers", run=self.triggers.run, pace=LOOK),
            Task(name="deliveries", run=self.deliveries.run, pace=SEND),
            # Apart from the others: a command may take an hour.
            Task(name="commands", run=self.deliveries.run_commands, pace=SEND),
        ]

    def secret(self, tenant_id: str, id: str) -> TriggerSecret:
        """Return what the webhooks of a trigger are signed with; raises `NotFound`."""
        return TriggerSecret(secret=self._secret_of(self.triggers.get(tenant_id, id)))

    def _secret_of(self, trigger: Trigger) -> str:
        # Derived, so that no table holds a secret. The time is in it: a trigger that is removed and added anew has
        # another one. Lengths are in it: no two triggers meet at the border of tenant and id.
        parts = (trigger.tenant_id, trigger.id, str(trigger.created_at_ms))
        named = b"".join(f"{len(part)}:{part}".encode() for part in parts)
        return PREFIX + base64.b64encode(hmac.digest(self._key, named, hashlib.sha256)).decode()

    def _check(self, action: Action) -> None:
        match action:
            case Webhook(url=url):
                self._webhooks.check(url)
            case Command(name=name):
                self._commands.check(name)
            case GitHub():
                return
            case _:
                assert_never(action)

    def _send(self, delivery: TriggerDelivery) -> Sent | None:
        match delivery.action:
            case Webhook(url=url):
                try:
                    trigger = self.triggers.get(delivery.tenant_id, delivery.trigger_id)
                except NotFound as error:
                    # Removed since the row was read; the delivery was cancelled with it.
                    return Sent(outcome="gone", said=error.message)
                return self._webhooks.send(
                    url,
                    id=delivery.id,
                    at_s=self._truth.clock.now_ms() // 1000,
                    body=message(delivery),
                    secret=self._secret_of(trigger),
                )
            case GitHub():
                return self._dispatched(delivery.firing.reason)
            case Command(name=name):
                return self._commands.run(name, told=message(delivery))
            case action:
                assert_never(action)

    def _dispatched(self, reason: str) -> Sent:
        if self._workflow is None:
            said = "local: github_token and github_repo are not set, so no workflow was started"
            return Sent(outcome="done", said=said)
        try:
            self._workflow.dispatch(reason)
        except LoopError as error:
            return Sent(outcome="failed", said=error.message)
        return Sent(outcome="done", said=self._workflow.name)


def workflow_of(settings: Settings) -> GitHubWorkflow | None:
    """Return the workflow that the settings name; None when they name none."""
    if settings.github_token is None or settings.github_repo is None:
        return None
    return GitHubWorkflow(
        settings.github_url,
        token=settings.github_token.get_secret_value(),
        repo=settings.github_repo,
        workflow=settings.github_workflow,
        ref=settings.github_ref,
    )


def _key(folder: Path) -> bytes:
    """Return the key that the secrets of webhooks are derived from; the first start makes it."""
    path = folder / KEY_FILE
    if not path.exists():
        write_private(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    try:
        found = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        found = b""
        reason = str(error)
    else:
        reason = f"it holds {len(found)} bytes"
    if len(found) != KEY_BYTES:
        raise SettingsInvalid(
            f"the key of webhooks in {path} cannot be used ({reason}; expected {KEY_BYTES} bytes in hexadecimal digits); "
            "restore the file from a backup, or remove it and give every receiver its new secret"
        )
    return found
