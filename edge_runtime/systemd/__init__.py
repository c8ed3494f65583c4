"""All that knows systemd: the unit, messages to it, the journal."""
