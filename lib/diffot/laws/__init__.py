"""Distributions to sample and evaluate."""
