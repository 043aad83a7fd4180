"""A trained network as one file of C99 that needs nothing but math.h (and stdint.h for bytes)."""

from varpro.export.c.source import CSource, c_source

__all__ = ["CSource", "c_source"]
