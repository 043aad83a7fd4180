"""The kernels: for each stem one checked entry point, and beside it the plain NumPy reference it is tested against."""
