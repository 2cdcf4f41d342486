"""The scaling study: Rosetta counts by model size, the fits through them, and the model that predicts them."""
