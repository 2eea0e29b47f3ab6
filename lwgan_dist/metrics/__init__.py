"""How good a fitted model is on rows that it was not trained on, in terms that do not depend on its own objective."""
