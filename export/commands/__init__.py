"""The commands of export."""

from f2pnet.commands.command import Command

COMMANDS = {
    "export": Command("export.commands.export:export", "Make an engine bundle from a checkpoint.", "train"),
}
BENCHMARKS = {
    "engine": Command(
        "export.commands.bench:bench_engine", "Rates and latencies of an engine's files on this machine.", "train"
    ),
}
