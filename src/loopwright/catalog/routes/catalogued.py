"""The catalog as handlers ask for it."""

from __future__ import annotations

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from loopwright.catalog.service import Catalog

Catalogued = NamedDependency[SkipValidation[Catalog]]
