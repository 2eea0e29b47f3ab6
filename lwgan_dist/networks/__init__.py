"""Encoder, generator and critic: families of networks, and layers that see a rank code."""
