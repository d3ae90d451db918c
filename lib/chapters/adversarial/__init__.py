"""The chapter on adversarial training as a flow of points."""
