"""Starting from other people's weights: SAM's and MobileSAM's checkpoints, and CNNs trained on ImageNet."""

from models.pretrained.cnn import read_cnn, start_cnn
from models.pretrained.sam import SamWeights, fill_encoder, load_sam, read_sam, start_from_sam

__all__ = ["SamWeights", "fill_encoder", "load_sam", "read_cnn", "read_sam", "start_cnn", "start_from_sam"]
