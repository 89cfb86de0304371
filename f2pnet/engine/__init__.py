"""The engine bundle: what it holds, what its network is fed, and whether it finds defects at all."""
