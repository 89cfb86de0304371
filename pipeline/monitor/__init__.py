"""What a line tells monitoring: Prometheus metrics and health, of the whole line or of one worker."""
