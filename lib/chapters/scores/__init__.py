"""Chapter D.1: scores, how they are learned, and sampling by them."""
