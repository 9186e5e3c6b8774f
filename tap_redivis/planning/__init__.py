"""What to read of each table, and why; what proves that all of it came. Pure: no I/O."""
