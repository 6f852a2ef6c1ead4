"""`python -m loopwright.app.cli`."""

from __future__ import annotations

from . import main

main()
