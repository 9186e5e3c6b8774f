"""What tests and the demo need beside the package: other programs' environments, a PostgreSQL, pipes of processes."""
