"""The durable end of the line: verdicts into Redis, onto disk while Redis is away, each exactly once."""
