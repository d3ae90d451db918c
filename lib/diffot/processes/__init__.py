"""How data become noise."""
