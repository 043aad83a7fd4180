"""Data sets by name and the user's own files: found, fetched, read and checked."""
