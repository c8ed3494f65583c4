"""The networks, and the library they run on."""
