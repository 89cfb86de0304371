"""Training and evaluation of F2P-Net: data sets, losses, metrics, the loop, the score sheet."""
