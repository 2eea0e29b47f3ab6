"""Training of one run by torch and process groups, without Ray."""
