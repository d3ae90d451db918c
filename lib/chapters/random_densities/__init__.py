"""Random densities."""
