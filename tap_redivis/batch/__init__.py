"""JsonRows as files, for BATCH messages."""
