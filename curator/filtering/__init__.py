"""Turning scored documents into kept and rejected shards; no model in sight."""
