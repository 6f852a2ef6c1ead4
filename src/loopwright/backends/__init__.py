"""Engines that implement `core.ports`: memory, SQLite, files, PostgreSQL. They know no slice, and only wiring names them."""
