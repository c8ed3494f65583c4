"""The machine: processor, memory, temperature, throttling. Nothing else reads them."""
