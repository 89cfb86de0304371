"""Score sheets as tables and as a page."""
