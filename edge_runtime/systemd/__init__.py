"""What keeps a run alive for months: systemd, its unit, the log, the flags for them."""
