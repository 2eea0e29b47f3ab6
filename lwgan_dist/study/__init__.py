"""The consistency study: the estimate repeated over manifolds, sample sizes, methods and seeds."""
