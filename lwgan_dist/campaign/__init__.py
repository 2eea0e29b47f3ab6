"""What studies, searches and comparisons have in common: a plan becomes tasks, tasks become records, records become tables."""
