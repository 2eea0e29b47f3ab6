"""What can be trained: each model in a folder of its own."""
