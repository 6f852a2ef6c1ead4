"""The control plane over HTTP: experiments and arms, policies, tenants, API keys, signing keys.

Handlers ask for what they need by name: `catalog`, `principal` and `signing_ring` are provided by the
application, `tenant` and `expected` by `web`. A key sees only its own tenant: the rest does not exist for it.
"""

from __future__ import annotations

from typing import Final

from .catalogued import Catalogued
from .experiments import ExperimentsController
from .keys import KeysController
from .policies import PoliciesController
from .signing_keys import SigningKeysController, SigningRing
from .tenants import TenantsController, UsageOf
from .zones import TimeZoneController

__all__ = ["CONTROLLERS", "Catalogued", "SigningRing", "UsageOf"]

CONTROLLERS: Final = (
    ExperimentsController,
    PoliciesController,
    TenantsController,
    TimeZoneController,
    KeysController,
    SigningKeysController,
)
"""What the application registers."""
