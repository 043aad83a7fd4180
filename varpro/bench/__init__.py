"""Microbenchmarks of the kernels, one module a kernel stem; `varpro-bench` runs them."""
