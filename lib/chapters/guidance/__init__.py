"""Chapters G.1 and G.2."""
