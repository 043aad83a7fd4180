"""Least-squares problems behind one interface: evaluate, linearise, renew, size; what a search sees."""
