"""Alerts of a line, for other programs."""
