"""Numbers about samples and maps."""
