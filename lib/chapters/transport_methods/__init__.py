"""Chapter O.1."""
