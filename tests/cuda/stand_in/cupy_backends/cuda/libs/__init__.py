"""The vendor's functions that varpro calls, on addresses of the host, by NumPy."""
