"""The registry of surrogates: immutable blobs by version, and which version of each task is current.

`<tenant>/<task>/<version>.json` holds one surrogate. `<tenant>/<task>/current-<number>` names the version that
became current at that step; numbers count up from 1 without gaps and the highest wins. A blob store has no
replace, and needs none here: a pointer appears whole or not at all, and of two writers of one number exactly
one wins. So a crash leaves the old surrogate in force or the new one.
"""

from __future__ import annotations

import threading
from typing import Final
from urllib.parse import quote

import msgspec

from loopwright.core.errors import Broken, Invalid, NotFound
from loopwright.core.ports import BlobStore

from .surrogate import Surrogate

FOLDER: Final = "surrogates"
"""Where surrogates are kept in a data directory."""
_LONGEST_NAME: Final = 200


class _Pointer(msgspec.Struct, frozen=True):
    version: str


class Surrogates:
    """Surrogates of every tenant and task in one blob store. Safe to use from several threads and processes."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()

    def store(self, tenant_id: str, surrogate: Surrogate) -> str:
        """Keep a surrogate under its version and make it the current one of its task; return its blob's name."""
        folder = _folder(tenant_id, surrogate.task)
        name = f"{folder}/{surrogate.version}.json"
        # The surrogate before its pointer: a crash leaves a blob that nothing names. False is harmless here, as a
        # version is the digest of its content.
        self._blobs.put(name, msgspec.json.encode(surrogate))
        content = msgspec.json.encode(_Pointer(surrogate.version))
        number = (self._find_newest(folder) or 0) + 1
        while not self._blobs.put(_pointer(folder, number), content):
            number += 1
        return name

    def newest(self, tenant_id: str, task: str) -> int | None:
        """Return the number of the current pointer of a task; None when no surrogate was ever made.

        Cheap when nothing has changed: one lookup in the blob store.
        """
        return self._find_newest(_folder(tenant_id, task))

    def current(self, tenant_id: str, task: str) -> Surrogate:
        """Return the current surrogate of a task.

        Raises `NotFound` when none was made, `Broken` when its blob is missing or cannot be read.
        """
        folder = _folder(tenant_id, task)
        number = self._find_newest(folder)
        if number is None:
            raise NotFound(
                f"task {task!r} of tenant {tenant_id!r} has no surrogate; run loopwright calibrate"
            )
        try:
            pointer = self._get(_pointer(folder, number))
            version = msgspec.json.decode(pointer, type=_Pointer).version
            found = msgspec.json.decode(self._get(f"{folder}/{version}.json"), type=Surrogate)
        except (OSError, msgspec.MsgspecError) as error:
            raise Broken(
                f"the surrogate of task {task!r} cannot be read: {error}; calibrate again"
            ) from error
        # A pointer that was copied to another task by hand would predict the wrong thing in silence.
        if (found.version, found.task) != (version, task):
            raise Broken(
                f"{folder} names version {version} of task {task!r} and holds {found.version} of "
                f"{found.task!r}; calibrate again"
            )
        return found

    def _find_newest(self, folder: str) -> int | None:
        """Return the highest pointer number, counting on from the highest one seen before."""
        with self._lock:
            number = self._newest.get(folder, 0)
        started = number
        # Numbers have no gaps, so looking up the next one is enough: listing a folder of blobs costs far more.
        while self._blobs.get(_pointer(folder, number + 1)) is not None:
            number += 1
        if number != started:
            with self._lock:
                self._newest[folder] = max(number, self._newest.get(folder, 0))
        if number == 0 and self._blobs.get(_pointer(folder, 0)) is None:
            return None
        return number

    def _get(self, name: str) -> bytes:
        content = self._blobs.get(name)
        if content is None:
            raise FileNotFoundError(f"{name} is missing")
        return content


def _pointer(folder: str, number: int) -> str:
    # Before 0.4, one file `current` was replaced in place; where it is, it counts as the pointer before the first.
    return f"{folder}/current-{number:06d}" if number else f"{folder}/current"


def _folder(tenant_id: str, task: str) -> str:
    return f"{_file_name(tenant_id)}/{_file_name(task)}"


def _file_name(name: str) -> str:
    """Return any name spelt so that it is one part of a blob's name."""
    # A name like `..` would leave the folder, and one with a slash would be two parts.
    spelt = quote(name, safe="").replace(".", "%2E")
    if not 0 < len(spelt) <= _LONGEST_NAME:
        raise Invalid(
            f"{name[:60]!r} takes {len(spelt)} bytes as a folder's name; give 1 to {_LONGEST_NAME}"
        )
    return spelt
