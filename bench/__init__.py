"""Benchmarks of `engine`: ``pytest bench`` and ``python -m bench`` (see README.md)."""
