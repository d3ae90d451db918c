"""Optimal transport in one dimension."""
