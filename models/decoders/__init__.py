"""Mask decoders: prompts and image embeddings to masks."""
