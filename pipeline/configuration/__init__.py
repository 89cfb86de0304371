"""The configuration and the engine that a running line uses, whatever its files say by now."""
