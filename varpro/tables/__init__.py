"""Tables of numbers in text files, as instruments, loggers and office programs write them.

bytes -> lines (`decode`) -> cells (`cells`) -> rows and header (`layout`, `header`) -> numbers (`notation`, `stamps`).
Anything unambiguous is read, and `Table.notes` says what was left out; anything else is rejected with the line, the
cell and the option that settles it.
"""

from varpro.tables.options import TextOptions
from varpro.tables.table import Table, read_table

__all__ = ["Table", "TextOptions", "read_table"]
