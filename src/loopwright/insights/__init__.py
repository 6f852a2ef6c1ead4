"""The numbers and patterns people read: quality reports with intervals, trends, version comparisons, failure patterns, drift."""

from loopwright.warehouse.period import Period

from .report import QualityReport
from .service import Insights

__all__ = ["Insights", "Period", "QualityReport"]
