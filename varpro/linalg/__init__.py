"""Dense linear algebra that knows no model: the projector, damped systems, sums over rows."""
