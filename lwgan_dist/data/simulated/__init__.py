"""Manifolds whose dimension is known: by name, of a benchmark, as images, and a population of random ones."""
