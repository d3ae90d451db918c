"""Chapter D.3: processes that are not diffusion with Gaussian noise."""
