"""Experiment H.1."""
