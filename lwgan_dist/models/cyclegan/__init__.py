"""The cycle-consistent GAN (Zhu, Park, Isola, Efros 2017, arXiv:1703.10593) between the data and the latent space."""
