"""Data sets as they are published, read into the index of our own folder layout (docs/data.md)."""
