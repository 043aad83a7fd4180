"""The search: one loop, one decision, and the drivers that run it in compiled code or on a device."""
