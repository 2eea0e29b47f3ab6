"""The Wasserstein GAN with gradient penalty (Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, arXiv:1704.00028)."""
