"""Choosing, calibrating and filing the neurons that filtering needs."""
