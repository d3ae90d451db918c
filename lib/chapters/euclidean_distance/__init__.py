"""Experiment L.1."""
