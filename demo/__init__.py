"""`make demo`: a local Redivis, the tap, a target and a PostgreSQL, with a stop half-way and a run that goes on."""
