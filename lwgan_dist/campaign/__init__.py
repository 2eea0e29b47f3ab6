"""What studies, searches and comparisons have in common: a plan becomes tasks, tasks records, records tables."""
