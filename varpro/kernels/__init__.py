"""The kernels: a folder for each stem, all of one form.

__init__    the checked entry, which dispatches by where its arrays lie
reference   the same in plain NumPy, which tests and benchmarks compare it with
bench       the cases of `varpro-bench`, which `timing` measures
cuda        what the entry does with arrays on a device, where our own kernel does it (`vendor` holds the libraries')

The contract of a stem is csrc/kernels/<stem>.hpp.
"""
