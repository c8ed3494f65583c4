"""The board: temperature, throttling, memory, processor."""
