"""Pure statistics on NumPy: intervals, agreement, trend, drift, patterns of failure in texts."""
