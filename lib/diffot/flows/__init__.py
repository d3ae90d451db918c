"""From noise to data in continuous time."""
