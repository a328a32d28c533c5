"""Training of the network: data sets, losses, matcher, loop (paper sections 3.2, 4 and 7.1)."""
