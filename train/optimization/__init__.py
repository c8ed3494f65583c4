"""How the weights are fitted: the last layer alone, then all of them by steps."""
