"""Experiment L.2."""
