"""Samplers and their orders."""
