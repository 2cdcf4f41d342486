"""The measurements behind the README's performance table; run them as ``python benchmarks/identify.py --help``."""
