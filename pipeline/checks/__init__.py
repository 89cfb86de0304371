"""Checks before a line starts: configuration, machine, cameras, store."""
