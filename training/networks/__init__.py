"""The networks that can be trained: F2P-Net, and the baselines it is measured against."""
