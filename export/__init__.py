"""From a checkpoint to an engine bundle, with proof that both see the same."""
