"""How the number of Rosetta neurons grows with model size."""
