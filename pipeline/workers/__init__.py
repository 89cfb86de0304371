"""The three workers of a line, and the plain logic in them: leasing, batching, latency."""
