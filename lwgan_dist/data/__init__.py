"""Where rows come from: manifolds of known dimension and tables of the user."""
