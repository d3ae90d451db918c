"""Chapters F.2a and F.2b."""
