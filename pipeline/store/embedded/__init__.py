"""The Redis server that a line runs for itself, and its files."""
