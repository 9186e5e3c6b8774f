"""A Singer target that loads Arrow into PostgreSQL, DuckDB, SQLite and other databases that have an ADBC driver."""
