"""From noise to data in steps."""
