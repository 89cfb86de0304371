"""The gate: no file is called an engine unless it agrees with its checkpoint."""
