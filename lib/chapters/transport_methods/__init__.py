"""Chapters O.1a and O.1b: methods that might give optimal transport, exact and trained."""
