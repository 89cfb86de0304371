"""`f2p inspect` and `f2p engine`, and what every command uses: printing, checks of options and output files."""

from f2pnet.commands.command import Command

COMMANDS = {
    "inspect": Command("f2pnet.commands.inspect:inspect", "Inspect images, folders or videos without a line.", "cpu"),
    "inference": Command(
        "f2pnet.commands.inspect:inspect", "The same as inspect, by the name it has in F2P-Net.", "cpu"
    ),
    "engine": Command(
        "f2pnet.commands.engine:engine", "Show what an engine bundle is, and whether it runs here.", "cpu"
    ),
    "bench": Command("f2pnet.commands.bench:bench", "Measure rates and latencies, with the machine's facts."),
}
