"""A run from its configuration to its result: prepared, trained, written down."""
