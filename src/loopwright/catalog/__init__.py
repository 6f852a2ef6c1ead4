"""Who may do what, and which experiments there are: tenants, API keys and experiments.

Configuration is the second truth beside the event log. It lives in tables of its own, is held whole in
memory as immutable values, and every change is stored together with the fact that tells the event log of it.
"""

from __future__ import annotations

from loopwright.core.principal import Key
from loopwright.core.tenancy import Quotas, Tenant, Usage

from .journal import Journal
from .quotas import Counted, Meters
from .secret import IssuedKey
from .service import Catalog
from .tenant import DEFAULT_TENANT

__all__ = [
    "DEFAULT_TENANT",
    "Catalog",
    "Counted",
    "IssuedKey",
    "Journal",
    "Key",
    "Meters",
    "Quotas",
    "Tenant",
    "Usage",
]
