"""Pure statistics on NumPy: intervals, agreement, trend, drift, patterns."""
