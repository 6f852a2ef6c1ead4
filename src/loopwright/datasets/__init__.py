"""Datasets: training sets that can be built again byte for byte, with what was left out and why.

A recipe says what to build. A build reads the warehouse in parts, deals units to splits before it pairs anything, and
writes immutable shards and a manifest.
"""

from __future__ import annotations

from .datasets import Datasets

__all__ = ["Datasets"]
