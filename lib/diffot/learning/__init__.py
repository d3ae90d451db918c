"""Networks, their training, and what was trained."""
