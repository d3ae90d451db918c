"""Chapter D.2: equations that share their laws, and variances of the reverse steps."""
