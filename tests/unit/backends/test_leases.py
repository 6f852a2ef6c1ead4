from __future__ import annotations

from loopwright.backends.leases import DatabaseLease
from loopwright.backends.memory import memory_database
from loopwright.testing import ManualClock


def test_a_lease_that_was_not_renewed_in_time_goes_to_the_next_holder() -> None:
    database, clock = memory_database(), ManualClock()
    one = DatabaseLease(database, clock, holder="one")
    other = DatabaseLease(database, clock, holder="other")
    first = one.acquire("load", ttl_s=10)
    assert first is not None
    clock.advance(seconds=9)
    assert other.acquire("load", ttl_s=10) is None
    assert one.renew("load", first, ttl_s=10)
    clock.advance(seconds=10)
    second = other.acquire("load", ttl_s=10)
    assert second == first + 1
    assert not one.renew("load", first, ttl_s=10)
    one.release("load", first)
    assert one.acquire("load", ttl_s=10) is None
    database.close()
