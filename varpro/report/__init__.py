"""What people see of a run: progress, a table on the screen, plots, a page, and files for programs."""
