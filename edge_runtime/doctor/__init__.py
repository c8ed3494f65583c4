"""``python -m edge_runtime doctor``: is this board ready, and what to do if not."""
