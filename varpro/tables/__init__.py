"""Tables of numbers in text files, as instruments, loggers and office programs write them.

bytes -> lines (`decode`) -> cells (`cells`) -> rows and header (`layout`, `header`) -> numbers (`notation`, `stamps`).
What is unambiguous is read, and what was left out is told in `Table.notes`; what is not is refused with the line, the
cell and the option that settles it.
"""

from varpro.tables.options import TextOptions
from varpro.tables.table import Table, read_table

__all__ = ["Table", "TextOptions", "read_table"]
