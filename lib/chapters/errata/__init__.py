"""Errata: printed formulas of the sources that are checked by numbers."""
