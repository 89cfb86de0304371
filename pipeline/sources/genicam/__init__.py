"""Industrial cameras: GenTL producers and Aravis."""
