"""Experiment H.2."""
