"""`f2p export` and `f2p bench engine`."""
