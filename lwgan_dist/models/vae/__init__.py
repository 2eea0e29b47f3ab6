"""The variational auto-encoder (Kingma, Welling 2014, arXiv:1312.6114); its noise: Rybkin, Daniilidis, Levine 2021."""
