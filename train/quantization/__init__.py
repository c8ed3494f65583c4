"""What int8 does to a network: ranges and rounding."""
