"""Diffusion models as optimal transport: the library behind the book."""

__version__ = "0.1.0"
