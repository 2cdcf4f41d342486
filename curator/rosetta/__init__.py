"""Matching the neurons of several models, with a null that says what chance would give."""
