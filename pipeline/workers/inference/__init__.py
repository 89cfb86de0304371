"""The inference worker: borrows frames, forms batches, sends verdicts."""
