"""Scoring documents on a neuron set with a forward pass that stops as early as it can."""
