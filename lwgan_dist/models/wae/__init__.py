"""The Wasserstein auto-encoder (Tolstikhin, Bousquet, Gelly, Schoelkopf 2018, arXiv:1711.01558)."""
