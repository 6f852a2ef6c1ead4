"""Repeatable measurements. `python -m bench` runs them all; each script also runs alone and ends with one JSON line."""
