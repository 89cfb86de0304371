"""The line: camera-ingest, inference and publishing workers, and the supervisor that keeps them."""
