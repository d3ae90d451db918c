"""Chapter O.2."""
