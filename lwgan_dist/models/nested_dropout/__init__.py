"""The auto-encoder with nested dropout (Rippel, Gelbart, Adams 2014, arXiv:1402.0915)."""
