"""Chapter F.2."""
