"""The report that justifies a neuron set: one HTML page and the same numbers as JSON."""
