"""A camera that is not there: drawn faces, and scripted faults."""
