"""The commands of training: `f2p train`, `f2p test`, `f2p data`, `f2p pretrained`."""
