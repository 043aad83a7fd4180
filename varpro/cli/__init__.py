"""The programs: varpro-train, varpro-predict, varpro-fit, varpro-bench."""

import os

# NumPy and SciPy bring a BLAS each, whose threads wait for work in a loop for 30 ms.  Where a program turns from one to
# the other, the threads of the first still hold the cores: gluing took a fifth longer.  Now they sleep after 2^14
# cycles, which has to be said before NumPy is imported; see also linalg.one_pool.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")
