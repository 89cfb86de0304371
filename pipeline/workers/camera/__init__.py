"""The worker of one camera: captures frames, lends them to inference workers, counts their verdicts."""
