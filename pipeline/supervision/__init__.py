"""A whole line on this host: its workers kept alive, its rings, reloads, and an orderly end."""
