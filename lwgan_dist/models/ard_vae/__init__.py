"""The VAE that finds the relevant latent dimensions (Saha, Joshi, Whitaker 2025, arXiv:2501.10901)."""
