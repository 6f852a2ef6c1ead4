"""What every test runs under."""

from __future__ import annotations

import os

from hypothesis import settings

# Machines are shared and slow at times, so no example has a deadline. In CI the examples are the same each
# time: a red run there is about the change, not about the dice.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
