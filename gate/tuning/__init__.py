"""Offline tuning: from labelled answers to a fitted calibrator and a certified threshold."""
