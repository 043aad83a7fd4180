"""Least-squares problems behind one interface, which is all that a search sees: evaluate, linearise, renew, size."""
