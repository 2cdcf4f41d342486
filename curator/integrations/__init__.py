"""Scores for the tools that people already prepare data with: datatrove, datasets and dolma; each is imported by its module."""
