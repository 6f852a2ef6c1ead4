"""The key ring that signs tokens, kept in one private file.

Nothing has a default secret: the first start makes a key at random. The file is readable by its owner only and
replaced whole, so a crash leaves either the old ring or the new one.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from loopwright.backends.files import refusal
from loopwright.core.errors import Conflict, NotFound, SettingsInvalid
from loopwright.core.token import MIN_KEY_BYTES, Signer

_FILE: Final = "keys.json"
ADMIN_KEY_FILE: Final = "admin.key"
"""Where the first start puts the first API key."""


class _Ring(msgspec.Struct, forbid_unknown_fields=True):
    active: int
    keys: dict[int, str]


class KeyRing:
    """Signing keys by id. The newest signs; every key in the ring verifies."""

    def __init__(self, folder: Path, *, max_age_s: float | None = None) -> None:
        self._path = folder / _FILE
        self._max_age_s = max_age_s
        self._listeners: list[Callable[[Signer], None]] = []
        # Held from the choice of an id until the file is replaced: of two changes at once, none may undo the other.
        self._lock = threading.Lock()
        if self._path.exists():
            self._ring = self._load()
        else:
            self._ring = _Ring(active=1, keys={1: _new_key()})
            self._save(self._ring)
        self.signer = self._make_signer()

    def ids(self) -> list[int]:
        """Return the ids of the keys in the ring; the last one signs."""
        ring = self._ring
        return [*sorted(key_id for key_id in ring.keys if key_id != ring.active), ring.active]

    def rotate(self) -> int:
        """Add a fresh key, make it the one that signs, and return its id. Older tokens stay valid.

        Raises `DiskFull` or `Unavailable` when the file cannot be written; the ring is then as it was.
        """
        with self._lock:
            ring = self._ring
            free = next((i for i in _after(ring.active) if i not in ring.keys), None)
            if free is None:
                raise Conflict("the ring holds 256 keys; retire some before rotating")
            self._apply(_Ring(active=free, keys={**ring.keys, free: _new_key()}))
        return free

    def retire(self, key_id: int) -> None:
        """Take a key out of the ring: decisions it signed can no longer take feedback.

        Raises `NotFound`, `Conflict` for the key that signs, and as `rotate` does.
        """
        with self._lock:
            ring = self._ring
            if key_id not in ring.keys:
                raise NotFound(f"there is no signing key {key_id}; the ring holds {self.ids()}")
            if key_id == ring.active:
                raise Conflict(f"signing key {key_id} is the one that signs; rotate first")
            left = {other: key for other, key in ring.keys.items() if other != key_id}
            self._apply(_Ring(active=ring.active, keys=left))

    def subscribe(self, listener: Callable[[Signer], None]) -> None:
        """Call `listener` with the new signer after every change."""
        self._listeners.append(listener)

    def _apply(self, ring: _Ring) -> None:
        # Saved first: no token may be signed by a key that a crash can lose, and a disk that refuses leaves the ring
        # as it was, in memory too.
        self._save(ring)
        self._ring = ring
        self.signer = self._make_signer()
        for listener in self._listeners:
            listener(self.signer)

    def _make_signer(self) -> Signer:
        keys = {key_id: base64.b64decode(text) for key_id, text in self._ring.keys.items()}
        return Signer(keys, active=self._ring.active, max_age_s=self._max_age_s)

    def _load(self) -> _Ring:
        try:
            ring = msgspec.json.decode(self._path.read_bytes(), type=_Ring)
        except (OSError, msgspec.MsgspecError) as error:
            raise SettingsInvalid(
                f"the signing keys in {self._path} cannot be read ({error}); restore the file from a "
                "backup: without it, feedback for earlier decisions is refused"
            ) from error
        if self._path.stat().st_mode & 0o077:
            raise SettingsInvalid(
                f"{self._path} can be read by others; it holds secrets: chmod 600 {self._path}"
            )
        return ring

    def _save(self, ring: _Ring) -> None:
        try:
            write_private(self._path, msgspec.json.encode(ring))
        except OSError as error:
            said = f"the signing keys in {self._path}: {error.strerror or error}"
            raise refusal(error.errno, said) from error


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` durably by `content`, readable by its owner only."""
    # In the same folder, because a rename is atomic only within one file system.
    scratch = path.with_name(path.name + ".new")
    # Left by a crash; O_EXCL below refuses a file, or a link, that another process put there since.
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    # The rename is an entry of the folder: without this a power failure can bring the old file back.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(MIN_KEY_BYTES)).decode()


def _after(active: int) -> list[int]:
    # From the active id upwards: the id of a retired key, which old tokens name, is used again last.
    return [(active + step) % 256 for step in range(1, 256)]
