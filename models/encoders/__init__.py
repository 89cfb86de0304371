"""Image encoders: the ViT and TinyViT, the CNN beside them, and what joins and prompts them."""
