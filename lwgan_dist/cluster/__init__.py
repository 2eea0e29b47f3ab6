"""What operates clusters: commands as Ray jobs, their secrets, and whether a cluster is fit for runs."""
