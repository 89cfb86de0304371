"""`f2p inspect` and `f2p engine`, and what every command uses: printing, checks of options and output files."""
