"""Bridges to other packages, each an extra of its own."""
