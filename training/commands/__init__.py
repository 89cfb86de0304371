"""The commands of training."""

from f2pnet.commands.command import Command

COMMANDS = {
    "data": Command("training.commands.data:data", "Look at a data set before training on it.", "train"),
    "pretrained": Command(
        "training.commands.pretrained:pretrained",
        "List, fetch, convert and check weights that training starts from.",
        "train",
    ),
    "train": Command("training.commands.train:train", "Train F2P-Net on a data set.", "train"),
    "test": Command("training.commands.score:test", "Score a checkpoint, an engine or a trivial baseline.", "train"),
}
