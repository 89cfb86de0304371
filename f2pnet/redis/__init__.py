"""A line's Redis: how it is addressed and reached, the names of its keys, and the entries of its streams."""
