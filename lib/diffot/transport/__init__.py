"""Optimal transport: maps, costs, bounds and certificates."""
