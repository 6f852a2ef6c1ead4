"""Evidence: what the warehouse says of two arms since a stage began, by unit of assignment.

A unit counts on the arm that it met; one that met both counts on neither. Decisions whose attribution window is still
open are left out, and one without feedback has the default reward: else an arm whose feedback comes sooner would look
better. What a unit did in the weeks before the stage is its earlier value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.core.clock import DAY_MS
from loopwright.core.experiment import Experiment
from loopwright.core.gate import Gate
from loopwright.core.rollout import Assigned
from loopwright.stats.sequential import Moments
from loopwright.warehouse import Warehouse
from loopwright.warehouse.queries import Parameter, Query
from loopwright.warehouse.queries.declared import OF_METRIC
from loopwright.warehouse.tables import Column

from .gates import Evidence, Side

LOOKBACK_MS: Final = 28 * DAY_MS
"""How long before a stage a unit's earlier values reach: four whole weeks."""

_ARMS: Final = (
    Parameter("experiment", "VARCHAR", "The experiment."),
    Parameter("champion", "VARCHAR", "The arm that the other is compared with."),
    Parameter("challenger", "VARCHAR", "The arm to promote."),
    Parameter("since_ms", "BIGINT", "When the stage began."),
    Parameter("through_ms", "BIGINT", "Decisions after it are not settled."),
    Parameter("by_unit", "BOOLEAN", "Whether units are randomised, and not each decision."),
)

# Live decisions alone: what a gate's rule gave was not drawn, and shadows reach nobody.
_MET: Final = """
SELECT decision_key, at_ms, arm_id, CASE WHEN $by_unit THEN coalesce(unit_id, decision_id) ELSE decision_id END AS unit
FROM decisions
WHERE experiment_id = $experiment AND mode = 'live' AND arm_id IN ($champion, $challenger) AND at_ms >= $since_ms"""

_UNITS: Final = Query(
    name="gate_units",
    sentence="How many units met each of two arms, how many met both, and how many decisions are not settled.",
    reads=("decisions",),
    is_bulk=True,
    sql=f"""
WITH met AS ({_MET}),
units AS (
    SELECT unit, min(arm_id) AS arm_id, max(arm_id) AS other,
        sum(CASE WHEN at_ms > $through_ms THEN 1 ELSE 0 END) AS unsettled, count(*) AS n,
        min(at_ms) AS first_ms, max(at_ms) AS last_ms
    FROM met GROUP BY unit
)
SELECT CASE WHEN arm_id = other THEN arm_id END AS arm_id, count(*) AS units,
    CAST(sum(unsettled) AS BIGINT) AS unsettled, min(first_ms) AS first_ms, max(last_ms) AS last_ms
FROM units GROUP BY CASE WHEN arm_id = other THEN arm_id END ORDER BY arm_id""",  # noqa: S608 - our own constants
    columns=(
        Column("arm_id", "VARCHAR", "The arm; NULL for units that met both."),
        Column("units", "BIGINT", "Units."),
        Column("unsettled", "BIGINT", "Their decisions that are not settled."),
        Column("first_ms", "BIGINT", "The earliest decision."),
        Column("last_ms", "BIGINT", "The latest decision."),
    ),
    parameters=_ARMS,
)

_MOMENTS: Final = Query(
    name="gate_moments",
    sentence="A metric's sums over the units of two arms, one value per unit, and over what the units did before.",
    reads=("decisions", "feedback"),
    is_bulk=True,
    sql=f"""
WITH told AS (
    SELECT decision_key, value,
        row_number() OVER (PARTITION BY decision_key ORDER BY log_offset) AS nth,
        row_number() OVER (PARTITION BY decision_key ORDER BY log_offset DESC) AS nth_last
    FROM feedback WHERE quarantined IS NULL AND decision_key IS NOT NULL AND {OF_METRIC}
), valued AS (
    SELECT decision_key, CASE $counts
        WHEN 'first' THEN min(CASE WHEN nth = 1 THEN value END)
        WHEN 'latest' THEN min(CASE WHEN nth_last = 1 THEN value END)
        WHEN 'add' THEN sum(value)
        ELSE avg(value) END AS value
    FROM told GROUP BY decision_key
), met AS ({_MET}),
settled AS (
    SELECT unit, min(arm_id) AS arm_id, max(arm_id) AS other,
        avg(CASE WHEN $has_default THEN coalesce(value, $default) ELSE value END) AS y
    FROM met LEFT JOIN valued ON valued.decision_key = met.decision_key
    WHERE at_ms <= $through_ms GROUP BY unit
), earlier AS (
    SELECT unit_id AS unit, avg(value) AS x
    FROM decisions JOIN valued ON valued.decision_key = decisions.decision_key
    WHERE $by_unit AND unit_id IS NOT NULL AND at_ms < $since_ms GROUP BY unit_id
), units AS (
    SELECT arm_id, y, coalesce(x, 0.0) AS x
    FROM settled LEFT JOIN earlier ON earlier.unit = settled.unit
    WHERE arm_id = other AND y IS NOT NULL
)
SELECT arm_id, count(*) AS n, sum(y) AS y, sum(y * y) AS yy, sum(x) AS x, sum(x * x) AS xx, sum(x * y) AS xy
FROM units GROUP BY arm_id ORDER BY arm_id""",  # noqa: S608 - our own constants
    columns=(
        Column("arm_id", "VARCHAR", "The arm."),
        Column("n", "BIGINT", "Its units with a value."),
        Column("y", "DOUBLE", "Sum of their values."),
        Column("yy", "DOUBLE", "Sum of the squares."),
        Column("x", "DOUBLE", "Sum of their earlier values."),
        Column("xx", "DOUBLE", "Sum of the squares of these."),
        Column("xy", "DOUBLE", "Sum of the products."),
    ),
    parameters=(
        *_ARMS,
        Parameter("metric", "VARCHAR", "Which metric."),
        Parameter(
            "counts",
            "VARCHAR",
            "Which of several values counts.",
            "mean",
            among=("first", "latest", "add", "mean"),
        ),
        Parameter(
            "has_default", "BOOLEAN", "Whether a decision without feedback has a value.", False
        ),
        Parameter("default", "DOUBLE", "That value.", 0.0),
    ),
)

_FOUND: Final = Query(
    name="gate_findings",
    sentence="On how many decisions of an arm a scanner found something.",
    reads=("decisions", "feedback"),
    is_bulk=True,
    sql="""
SELECT count(DISTINCT decisions.decision_key) AS n
FROM decisions JOIN feedback ON feedback.decision_key = decisions.decision_key
WHERE decisions.experiment_id = $experiment AND decisions.arm_id = $arm AND decisions.at_ms >= $since_ms
    AND feedback.quarantined IS NULL AND feedback.metric = $metric AND feedback.value > 0
    AND feedback.kind IN ('measurement', 'annotation', 'outcome')""",
    columns=(Column("n", "BIGINT", "Decisions."),),
    parameters=(
        Parameter("experiment", "VARCHAR", "The experiment."),
        Parameter("arm", "VARCHAR", "The arm."),
        Parameter("since_ms", "BIGINT", "From when on."),
        Parameter("metric", "VARCHAR", "The scanner's metric."),
    ),
)

_VALUES: Final = Query(
    name="watched_values",
    sentence="The values of a metric of one arm, each with its place in the log, in order: what the watch over a "
    "promotion reads.",
    reads=("decisions", "feedback"),
    is_bulk=True,
    sql=f"""
SELECT feedback.log_offset AS place, feedback.value
FROM feedback JOIN decisions ON decisions.decision_key = feedback.decision_key
WHERE decisions.experiment_id = $experiment AND decisions.arm_id = $arm AND decisions.at_ms >= $since_ms
    AND decisions.mode = 'live' AND feedback.log_offset > $after AND feedback.quarantined IS NULL
    AND {OF_METRIC.replace("metric", "feedback.metric", 1)} ORDER BY place LIMIT 10000""",  # noqa: S608 - our own constants
    columns=(
        Column("place", "BIGINT", "Its place in the log."),
        Column("value", "DOUBLE", "The value."),
    ),
    parameters=(
        Parameter("experiment", "VARCHAR", "The experiment."),
        Parameter("arm", "VARCHAR", "The arm."),
        Parameter("since_ms", "BIGINT", "From when on."),
        Parameter("after", "BIGINT", "Values up to this place are known."),
        Parameter("metric", "VARCHAR", "The metric."),
    ),
)

QUERIES: Final = (_UNITS, _MOMENTS, _FOUND, _VALUES)


def gather(
    warehouse: Warehouse,
    experiment: Experiment,
    gate: Gate,
    *,
    champion: str,
    challenger: str,
    share: float,
    since_ms: int,
    now_ms: int,
    assigned: Assigned = "unit",
    suites: Mapping[str, bool] | None = None,
) -> Evidence:
    """Return what is known of two arms since `since_ms`. `share` is the challenger's of the units of both."""
    window_ms = int((experiment.reward.window_s or 0.0) * 1000)
    common: dict[str, Any] = {
        "experiment": experiment.id,
        "champion": champion,
        "challenger": challenger,
        "since_ms": since_ms,
        "through_ms": now_ms - window_ms,
        "by_unit": assigned == "unit",
    }
    period: dict[str, Any] = {
        "tenant_id": experiment.tenant_id,
        "from_ms": since_ms - LOOKBACK_MS,
        # A copy of a moment ago could lack the very facts that decide.
        "is_fresh": True,
    }
    counted = warehouse.query(_UNITS, **period, **common)
    rows = counted.dicts()
    by_arm = {row["arm_id"]: row for row in rows}
    sums = {
        metric: _moments(warehouse, experiment, metric, period | common)
        for metric in _metrics(gate)
    }
    found = {rule.metric: _found(warehouse, rule.metric, period, common) for rule in gate.safety}

    def side(arm: str, findings: dict[str, int]) -> Side:
        return Side(
            units=by_arm[arm]["units"] if arm in by_arm else 0,
            metrics={metric: of_arm[arm] for metric, of_arm in sums.items() if arm in of_arm},
            findings=findings,
        )

    return Evidence(
        champion=side(champion, {}),
        challenger=side(challenger, found),
        share=share,
        mixed=by_arm[None]["units"] if None in by_arm else 0,
        unsettled=sum(row["unsettled"] for row in rows),
        first_ms=min((row["first_ms"] for row in rows), default=None),
        last_ms=max((row["last_ms"] for row in rows), default=None),
        suites=dict(suites or {}),
        offset=counted.offset,
    )


def values_after(
    warehouse: Warehouse, experiment: Experiment, arm: str, *, since_ms: int, after: int
) -> list[tuple[int, float]]:
    """Return the rewards of an arm that came after the place `after`, with their places, in order; some at a time."""
    answer = warehouse.query(
        _VALUES,
        tenant_id=experiment.tenant_id,
        from_ms=since_ms - DAY_MS,
        is_fresh=True,
        experiment=experiment.id,
        arm=arm,
        since_ms=since_ms,
        after=after,
        metric=experiment.reward.metric,
    )
    return [(place, value) for place, value in answer.rows]


def _metrics(gate: Gate) -> set[str]:
    primary = set() if gate.primary is None else {gate.primary.metric}
    return primary | {rail.metric for rail in gate.guardrails}


def _moments(
    warehouse: Warehouse, experiment: Experiment, metric: str, asked: dict[str, Any]
) -> dict[str, Moments]:
    spec = experiment.reward
    is_reward = metric == spec.metric
    answer = warehouse.query(
        _MOMENTS,
        **asked,
        metric=metric,
        # The reward is counted as the learner counts it; of other metrics, such as latencies, the mean.
        counts=spec.duplicates if is_reward else "mean",
        has_default=is_reward and spec.default is not None,
        default=float(spec.default or 0.0) if is_reward else 0.0,
    )
    return {
        arm: Moments(n=n, y=y, yy=yy, x=x, xx=xx, xy=xy) for arm, n, y, yy, x, xx, xy in answer.rows
    }


def _found(
    warehouse: Warehouse, metric: str, period: dict[str, Any], common: dict[str, Any]
) -> int:
    answer = warehouse.query(
        _FOUND,
        **period,
        experiment=common["experiment"],
        arm=common["challenger"],
        since_ms=common["since_ms"],
        metric=metric,
    )
    return int(answer.rows[0][0])
