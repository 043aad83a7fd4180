"""IDX files for tests."""

import numpy as np


def idx_bytes(array):
    """The file that holds `array` as bytes: magic, sizes, values."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()
