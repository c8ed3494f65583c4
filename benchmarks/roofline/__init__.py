"""Share of the processor's peak that a model reaches."""
