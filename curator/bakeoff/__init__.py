"""The referee: every way to choose data on one pool, with one budget, and one recipe of continued pretraining."""
