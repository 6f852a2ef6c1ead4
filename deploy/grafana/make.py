"""Write `rating-loop.json`, the Grafana dashboard of the rating loop: `python deploy/grafana/make.py`.

The titles and the help texts come from the metric catalogue, so a metric that is renamed shows here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from loopwright.app.metrics import CATALOGUE

TARGET: Final = Path(__file__).with_name("rating-loop.json")
WIDE, HIGH = 8, 9

PANELS: Final[tuple[tuple[str, str, str, str, str], ...]] = (
    # title, metric that it shows, expression, legend, unit
    ("Ratings per second", "rating_events_total",
     "sum by (result) (rate(rating_events_total[5m]))", "{{result}}", "ops"),
    ("Refill rate", "token_bucket_refill_rate",
     "token_bucket_refill_rate", "{{tenant}}/{{bucket}}", "short"),
    ("Utilisation of the capacity", "token_bucket_capacity_rate",
     "sum by (tenant, bucket) (rate(token_bucket_requests_total[2m])) / on (tenant, bucket) "
     "max by (tenant, bucket) (token_bucket_capacity_rate)", "{{tenant}}/{{bucket}}", "percentunit"),
    ("The ratings' part of the rate", "token_bucket_trim_ratio",
     "token_bucket_trim_ratio", "{{tenant}}/{{bucket}}", "short"),
    ("Requests by decision", "token_bucket_requests_total",
     "sum by (decision) (rate(token_bucket_requests_total[2m]))", "{{decision}}", "ops"),
    ("Rating to controller, 95th percentile", "rl_policy_update_latency_seconds",
     "histogram_quantile(0.95, sum by (le) (rate(rl_policy_update_latency_seconds_bucket[5m])))",
     "p95", "s"),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Return the dashboard: ratings, adjustments and utilisation side by side."""
    panels = [
        {
            "id": n + 1,
            "type": "timeseries",
            "title": title,
            "description": CATALOGUE[metric],
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"x": n % 3 * WIDE, "y": n // 3 * HIGH, "w": WIDE, "h": HIGH},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [{"refId": "A", "expr": expression, "legendFormat": legend}],
        }
        for n, (title, metric, expression, legend, unit) in enumerate(PANELS)
    ]
    return {
        "uid": "loopwright-rating-loop",
        "title": "Loopwright: the rating loop",
        "schemaVersion": 39,
        "tags": ["loopwright"],
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "15s",
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=1) + "\n", "utf-8")
