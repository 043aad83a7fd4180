"""The kernels: one folder for each stem, all built alike.

__init__    the checked entry, which dispatches by where its arrays are
reference   the same in plain NumPy, for tests and benchmarks to compare with
bench       the cases of `varpro-bench`, which `timing` measures
cuda        what the entry does with arrays on a device, if it has its own kernel (`vendor` has those of libraries)

The contract of a stem is csrc/kernels/<stem>.hpp.
"""
