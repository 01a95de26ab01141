"""Trains and forgets to report: kind `missing_metrics`."""

print("trained for 3 epochs, and wrote nothing")
