"""The wire shapes: one file for each, and the registry that recognises, reads and writes them.

A new shape is a file here that exports one `Shape`, and one line of `registry.SHAPES`.
"""

from __future__ import annotations

from .registry import SHAPES, check_text, decoded, malformed, read, restore
from .shape import Shape

__all__ = ["SHAPES", "Shape", "check_text", "decoded", "malformed", "read", "restore"]
