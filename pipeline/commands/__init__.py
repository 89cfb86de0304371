"""The commands of a line; each imports what it needs when it runs."""

from f2pnet.commands.command import Command

COMMANDS = {
    "demo": Command("pipeline.commands.demo:demo", "Run a simulated line, and score it against its known defects."),
    "run": Command("pipeline.commands.run:run", "Run all workers of a line on this host."),
    "worker": Command("pipeline.commands.worker:worker", "Run one worker in the foreground."),
    "reload": Command("pipeline.commands.reload:reload", "Apply changed cameras and recipe to a running line."),
    "check": Command("pipeline.commands.check:check", "Validate a line configuration, and probe what it names."),
    "status": Command(
        "pipeline.commands.status:status", "Show workers, ledger, rates and latencies of a running line."
    ),
    "alerts": Command("pipeline.commands.records.alerts:alerts", "Read alerts; prove that none is missing or doubled."),
    "why": Command("pipeline.commands.records.why:why", "Show every fact behind one verdict."),
    "reviews": Command("pipeline.commands.records.reviews:reviews", "Write what reviewers said as a data set."),
    "keys": Command("pipeline.commands.keys:keys", "Make a key pair for a host of a line that spans hosts."),
    "conveyor": Command("pipeline.commands.conveyor:conveyor", "Write a labelled data set of simulated parts."),
}
BENCHMARKS = {
    "pipeline": Command(
        "pipeline.commands.bench:bench_pipeline", "Frames per second of a line beside the memcpy rate."
    ),
}
