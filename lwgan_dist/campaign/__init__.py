"""What studies and searches have in common: a plan becomes tasks, tasks become records, records become tables."""
