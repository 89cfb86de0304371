"""The commands of a line; each imports what it needs when it runs."""
