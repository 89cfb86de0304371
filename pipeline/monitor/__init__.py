"""What a line reports to monitoring: Prometheus metrics and health, of the whole line or of one worker."""
