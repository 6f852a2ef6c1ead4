"""The numbers and patterns people read: intervals, trends, failure patterns, drift, targets. Pure maths on values."""
