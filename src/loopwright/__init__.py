"""Loopwright closes the feedback loop of an AI product."""

__version__ = "0.1.0"
