"""Engines that implement `core.ports`: memory, SQLite, files. They know no slice, and only wiring names them."""
