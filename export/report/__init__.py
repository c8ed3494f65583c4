"""Tables and figures of an export."""
