"""Fitting separable models from Python: `varpro.fit`, `varpro.fit_batch`, `varpro.functional`."""
