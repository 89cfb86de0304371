"""One training step: what it sees (batches, augmentation, prompts), its losses and its learning rates."""
