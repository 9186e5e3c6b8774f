"""Singer tap for Redivis: one stream a table, read through read sessions, resumable to the row."""
