"""Rows as files, for BATCH messages."""
