"""Lines without a configuration file: `f2p run --source`, the demo, the benchmark."""
