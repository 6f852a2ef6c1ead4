from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.keyring import KeyRing
from loopwright.core.decision import Decision
from loopwright.core.errors import Conflict, NotFound, SettingsInvalid, TokenKeyRetired, Unavailable
from loopwright.core.token import Signer

DECISION = Decision("0" * 32, "acme", "greeting", "a", 0.5, 1, 1)


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    assert ring.ids() == [1]
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert KeyRing(tmp_path).signer.verify(ring.signer.sign(DECISION), now_ms=0) == DECISION


def test_rotation_keeps_old_tokens_valid_and_retirement_ends_them(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    heard: list[Signer] = []
    ring.subscribe(heard.append)
    old = ring.signer.sign(DECISION)
    assert ring.rotate() == 2
    assert ring.ids() == [1, 2]
    assert ring.signer.verify(old, now_ms=0) == DECISION
    ring.retire(1)
    assert heard[-1] is ring.signer
    with pytest.raises(TokenKeyRetired):
        KeyRing(tmp_path).signer.verify(old, now_ms=0)


def test_the_signing_key_and_unknown_keys_cannot_be_retired(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    with pytest.raises(Conflict):
        ring.retire(1)
    with pytest.raises(NotFound):
        ring.retire(9)


def test_ids_go_round_and_a_full_ring_says_so(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    for _ in range(255):
        ring.rotate()
    with pytest.raises(Conflict, match="256"):
        ring.rotate()
    ring.retire(7)
    assert ring.rotate() == 7


def test_a_ring_that_others_can_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    KeyRing(tmp_path)
    path = tmp_path / "keys.json"
    path.chmod(0o644)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        KeyRing(tmp_path)
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        KeyRing(tmp_path)


def test_a_disk_that_refuses_leaves_the_ring_as_it_was(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    old = ring.signer.sign(DECISION)
    ring.rotate()
    # A folder in the place of the scratch file: the ring cannot be written.
    scratch = tmp_path / "keys.json.new"
    scratch.mkdir()
    with pytest.raises(Unavailable, match=r"signing keys in .*keys\.json"):
        ring.retire(1)
    with pytest.raises(Unavailable, match=r"signing keys in .*keys\.json"):
        ring.rotate()
    assert ring.ids() == [1, 2]
    scratch.rmdir()
    ring.retire(1)
    assert ring.rotate() == 3
    with pytest.raises(TokenKeyRetired):
        ring.signer.verify(old, now_ms=0)
