"""Text files and what is read like them: what their layout is, and how their numbers are written."""
