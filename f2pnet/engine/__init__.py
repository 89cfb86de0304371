"""The engine bundle: what it holds, and whether it finds defects at all."""
