"""The latent Wasserstein GAN (arXiv:2409.18374)."""
