"""Transport during training."""
