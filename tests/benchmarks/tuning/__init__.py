"""What tuning is measured by: the promise, calibration, cost and scale."""
