"""Weights that others published: where they are kept, fetched from, converted, checked, and given to a new network."""
