"""One file a command, and what turns its flags into objects."""
