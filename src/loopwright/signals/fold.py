"""Sessions in event time: actions that belong together, in whatever order they arrive.

`fold` keeps a session open until the watermark, which is the latest time seen less the allowed lateness, has
passed its last action by the timeout. Actions that come too late are returned, not dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from loopwright.core.errors import Invalid

Act = Literal[
    "shown",
    "query",
    "copy",
    "retry",
    "dwell",
    "export",
    "dashboard",
    "escalate",
    "accept",
    "edit",
    "leave",
]


class Action(msgspec.Struct, frozen=True):
    """One thing a person did, in event time.

    `query` acts carry the `text` that was asked and the decision that answered it; `edit` acts carry the text
    before and after; `dwell` acts carry the milliseconds in view so far.
    """

    session_id: str
    decision_id: str
    act: Act
    at_ms: int
    text: str = ""
    after: str = ""
    duration_ms: int = 0


class Session(msgspec.Struct, frozen=True):
    """The actions of one session, ordered by time, whatever order they came in."""

    session_id: str
    actions: tuple[Action, ...]

    @property
    def started_ms(self) -> int:
        """When the first action was."""
        return self.actions[0].at_ms

    @property
    def ended_ms(self) -> int:
        """When the last action was."""
        return self.actions[-1].at_ms


class Open(msgspec.Struct, frozen=True):
    """Sessions that may still grow, and the latest event time seen. The state of `fold`."""

    sessions: Mapping[str, tuple[Session, ...]] = {}
    latest_ms: int = -1


class Folded(msgspec.Struct, frozen=True):
    """What one step of `fold` gave: the new state, sessions that are over, and actions that came too late."""

    open: Open
    closed: tuple[Session, ...]
    late: tuple[Action, ...]


def fold(
    state: Open,
    actions: Iterable[Action],
    *,
    timeout_ms: int,
    lateness_ms: int = 0,
    now_ms: int | None = None,
) -> Folded:
    """Return `state` after more actions, with the sessions that ended meanwhile.

    Two actions of one session id belong together when no gap of more than `timeout_ms` lies between them; a
    late one can join two sessions into one. `now_ms` moves time on where no action does. As long as no action
    is more than `lateness_ms` behind the latest, any order and any split into steps gives the same sessions.
    """
    if timeout_ms <= 0 or lateness_ms < 0:
        raise Invalid(
            f"timeout_ms is {timeout_ms} and lateness_ms is {lateness_ms}; give more than 0 and at least 0"
        )
    sessions = dict(state.sessions)
    latest_ms = state.latest_ms
    late = []
    for action in actions:
        held = sessions.get(action.session_id, ())
        joined = _join(held, action, timeout_ms=timeout_ms)
        if len(joined) > len(held) and action.at_ms < latest_ms - lateness_ms:
            # The session that it belonged to may be closed already.
            late.append(action)
            continue
        latest_ms = max(latest_ms, action.at_ms)
        sessions[action.session_id] = joined
    latest_ms = latest_ms if now_ms is None else max(latest_ms, now_ms)
    # Lateness first: an action that may still arrive could join this session to the next.
    closed, still = _close(sessions, before_ms=latest_ms - lateness_ms - timeout_ms)
    return Folded(Open(still, latest_ms), closed, tuple(late))


def order(action: Action) -> tuple[int, str, str, str, str, int]:
    """Order by time, and by content within a millisecond, so that arrival plays no part."""
    return (
        action.at_ms,
        action.decision_id,
        action.act,
        action.text,
        action.after,
        action.duration_ms,
    )


def _join(sessions: tuple[Session, ...], action: Action, *, timeout_ms: int) -> tuple[Session, ...]:
    """Put an action into the session or sessions it touches, or into a new one."""
    touched, others = [action], []
    for session in sessions:
        # On both sides, as a late action may come before the session's first one.
        if session.started_ms - timeout_ms <= action.at_ms <= session.ended_ms + timeout_ms:
            touched += session.actions
        else:
            others.append(session)
    made = Session(action.session_id, tuple(sorted(touched, key=order)))
    return tuple(sorted([*others, made], key=lambda session: session.started_ms))


def _close(
    sessions: Mapping[str, tuple[Session, ...]], *, before_ms: int
) -> tuple[tuple[Session, ...], dict[str, tuple[Session, ...]]]:
    closed: list[Session] = []
    still: dict[str, tuple[Session, ...]] = {}
    for session_id, held in sessions.items():
        closed += [session for session in held if session.ended_ms < before_ms]
        if kept := tuple(session for session in held if session.ended_ms >= before_ms):
            still[session_id] = kept
    # In order of their ends, so any split of the log into steps closes them alike.
    return tuple(sorted(closed, key=lambda s: (s.ended_ms, s.session_id))), still
