"""The rows of a load as files, which BATCH messages name."""
