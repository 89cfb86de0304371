"""A line's Redis: how it is addressed and reached, and the names of its keys."""
