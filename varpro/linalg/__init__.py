"""Dense linear algebra that knows nothing of models: the projector, damped systems, sums over rows."""
