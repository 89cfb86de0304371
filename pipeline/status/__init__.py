"""The state of a line: read from its store, summarized, shown as tables."""
