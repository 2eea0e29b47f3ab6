"""What models with one latent size have in common; a model adds its fields, losses, and what an evaluation says."""
