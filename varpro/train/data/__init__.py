"""Data sets, by name or from the user's own files: found, fetched, read and checked."""
