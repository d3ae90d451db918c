"""Chapters D.1a and D.1b: scores, how they are learned, and sampling by them."""
