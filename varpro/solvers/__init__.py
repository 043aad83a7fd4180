"""The search: one loop for one fit, for a batch of fits, for a sub-network and for a whole network."""
