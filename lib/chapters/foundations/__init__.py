"""Foundations: probability, diffusion forward and back, its objective, flows and transport."""
