"""Engine files of each format and precision."""
