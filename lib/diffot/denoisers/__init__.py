"""The expected clean point given a noisy one, and its other readings."""
