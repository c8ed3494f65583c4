"""Frame in, ``FrameResult`` out."""
