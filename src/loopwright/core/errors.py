"""Every error a user can meet, in one tree.

An error names what was found, what was expected and what to do. `code` is stable and part of the public
surface; `status` is the HTTP status it maps to; `detail` carries machine-readable members for the problem
document (RFC 9457).

    LoopError
    ├── Invalid                the request cannot be understood
    │   ├── BodyMalformed · BodyTooLarge · WrongMediaType
    │   ├── ContextInvalid · RewardInvalid · PolicyMismatch · MaskEmpty
    │   └── TokenMalformed
    ├── Unauthenticated · Forbidden
    ├── TokenForged · TokenKeyRetired · TokenExpired · TokenForeign
    ├── NotFound
    │   └── RawNotKept · RawExpired · RawErased
    ├── Conflict               it contradicts what is there
    │   └── StaleVersion · ExperimentClosed · NoArms · EventConflict
    ├── QuotaExceeded          the tenant has used up what the operator allows
    ├── Overloaded             come back later
    │   └── OutcomeUnknown
    └── Broken                 the installation itself: data, disk, settings
        ├── LogCorrupt · PartCorrupt · DirectoryLocked · DiskFull · Unavailable
        ├── DatabaseUnavailable · CommitUnclear
        ├── NotInForce · RawDamaged
        └── SettingsInvalid
"""

from __future__ import annotations

from typing import Any, ClassVar


class LoopError(Exception):
    """The base of every error Loopwright raises on purpose."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class Invalid(LoopError):
    """The request is well-formed HTTP but its content is not acceptable."""

    code: ClassVar[str] = "invalid"
    # Unprocessable content (RFC 9110, section 15.5.21): the syntax is right. Bodies that cannot be read get 400.
    status: ClassVar[int] = 422


class BodyMalformed(Invalid):
    """The body is not the JSON that was expected."""

    code: ClassVar[str] = "body_malformed"
    status: ClassVar[int] = 400


class BodyTooLarge(Invalid):
    """The body exceeds the size limit."""

    code: ClassVar[str] = "body_too_large"
    status: ClassVar[int] = 413


class WrongMediaType(Invalid):
    """The body is declared as something other than JSON."""

    code: ClassVar[str] = "wrong_media_type"
    status: ClassVar[int] = 415


class ContextInvalid(Invalid):
    """The context's vector is missing, non-finite, out of bounds or of the wrong dimension."""

    code = "context_invalid"


class RewardInvalid(Invalid):
    """The reward has the wrong type or lies outside the declared range."""

    code = "reward_invalid"


class PolicyMismatch(Invalid):
    """The policy does not fit the experiment's reward type, context or parameters."""

    code = "policy_mismatch"


class MaskEmpty(Invalid):
    """The request's mask leaves no enabled arm to choose from."""

    code = "mask_empty"


class TokenMalformed(Invalid):
    """The request_id is not a token of a known version, or it was cut or extended."""

    code: ClassVar[str] = "token_malformed"
    status: ClassVar[int] = 400


class Unauthenticated(LoopError):
    """No valid API key came with the request."""

    code: ClassVar[str] = "unauthenticated"
    status: ClassVar[int] = 401


class Forbidden(LoopError):
    """The API key is valid but lacks the scope."""

    code: ClassVar[str] = "forbidden"
    status: ClassVar[int] = 403


class TokenForged(LoopError):
    """The token's signature does not match its content."""

    code: ClassVar[str] = "token_forged"
    status: ClassVar[int] = 403


class TokenKeyRetired(LoopError):
    """The token was signed by a key that has left the key ring."""

    code: ClassVar[str] = "token_key_retired"
    status: ClassVar[int] = 403


class TokenExpired(LoopError):
    """The token is older than the configured maximum age."""

    code: ClassVar[str] = "token_expired"
    # Gone, not 404 (RFC 9110, section 15.5.11): a repetition cannot succeed.
    status: ClassVar[int] = 410


class TokenForeign(LoopError):
    """The token was issued to another tenant."""

    code: ClassVar[str] = "token_foreign"
    status: ClassVar[int] = 403


class NotFound(LoopError):
    """There is no such resource for this tenant."""

    code: ClassVar[str] = "not_found"
    # Not 403 for what belongs to another tenant: that answer would confirm that it exists.
    status: ClassVar[int] = 404


class Conflict(LoopError):
    """The request contradicts what is already there."""

    code: ClassVar[str] = "conflict"
    status: ClassVar[int] = 409


class EventConflict(Conflict):
    """The event id is taken: a fact with other content is stored under it, and facts are never changed."""

    code = "event_conflict"

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"event_id {event_id[:80]!r} is stored already with other content, which cannot be changed; send what is new "
            "under a new event_id, or the same content to repeat it",
            event_id=event_id,
        )


class StaleVersion(Conflict):
    """Another request changed the resource first."""

    code = "stale_version"


class ExperimentClosed(Conflict):
    """The experiment is not running, so it selects nothing."""

    code = "experiment_closed"


class NoArms(Conflict):
    """The experiment has no enabled arm."""

    code = "no_arms"


class QuotaExceeded(LoopError):
    """The tenant has used up a quota: `quota`, `limit`, `used`, `resets_at_ms`, and when to come back."""

    code: ClassVar[str] = "quota_exceeded"
    # Too many requests (RFC 6585, section 4): the caller sent too much, the server is well.
    status: ClassVar[int] = 429


class Overloaded(LoopError):
    """The queue is full; `retry_after_s` says when to come back."""

    code: ClassVar[str] = "overloaded"
    # Not 429: the server is full, and the caller has not sent too much.
    status: ClassVar[int] = 503


# Under `Overloaded`, so that clients which repeat on overload repeat this too: keys make a repetition harmless.
class OutcomeUnknown(Overloaded):
    """A commit was not confirmed in time: the facts may be stored by now, or never. Repeat it under the same keys."""

    code = "outcome_unknown"


# 503, not 500: once the disk, the data or the settings are mended, the same request succeeds.
class Broken(LoopError):
    """The installation itself needs attention."""

    code: ClassVar[str] = "broken"
    status: ClassVar[int] = 503


class NotInForce(Broken):
    """A change of the control plane is kept, but the event log cannot take it yet; it is tried again."""

    code, status = "not_in_force", 503


class LogCorrupt(Broken):
    """The event log fails its integrity check; nothing is overwritten."""

    code = "log_corrupt"


class PartCorrupt(Broken):
    """A stored file is missing, or is not what was written."""

    code = "part_corrupt"


class DirectoryLocked(Broken):
    """Another process already serves from this data directory."""

    code = "directory_locked"


class DiskFull(Broken):
    """The disk refused a write; nothing unwritten was acknowledged."""

    code: ClassVar[str] = "disk_full"
    # Insufficient storage (RFC 4918, section 11.5): unlike 503, waiting alone does not help.
    status: ClassVar[int] = 507


class DatabaseUnavailable(Broken):
    """The database server cannot be reached, or ended the connection; nothing of the transaction is stored."""

    code = "database_unavailable"


class CommitUnclear(Broken):
    """The connection was lost while the transaction committed: all of it is stored, or nothing."""

    code = "commit_unclear"


class Unavailable(Broken):
    """An engine or a disk cannot be used for now: it is read-only, refuses access or fails."""

    code = "unavailable"


class SettingsInvalid(Broken):
    """A setting is missing or unusable."""

    code = "settings_invalid"


class RawNotKept(NotFound):
    """There is no raw copy under this event id."""

    code = "raw_not_kept"


class RawExpired(NotFound):
    """The raw copy's time to live is over."""

    code = "raw_expired"


class RawErased(NotFound):
    """The person of the raw copy was erased, or withdrew the consent to store."""

    code = "raw_erased"


class RawDamaged(Broken):
    """The raw copy does not match its seal: it was changed, or moved from another place."""

    code = "raw_damaged"
