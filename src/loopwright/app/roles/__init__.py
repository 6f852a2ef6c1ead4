"""The roles of a running loop, each built from what its constructor names.

`Door` selects and takes feedback, the learner learns, `Keeper` looks after the stored data, `Reports` reads it for
people; `Reacting` carries out what triggers start. One process runs them all; what they have in common is `Truth`: the event log, the catalog, the people.
"""

from __future__ import annotations

from .door import Door, following_tasks
from .eraser import Eraser
from .keeper import Keeper
from .learner import build_learner, learner_tasks
from .reacting import Reacting
from .reports import Reports
from .truth import Truth

__all__ = [
    "Door",
    "Eraser",
    "Keeper",
    "Reacting",
    "Reports",
    "Truth",
    "build_learner",
    "following_tasks",
    "learner_tasks",
]
