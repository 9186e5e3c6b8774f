"""Frozen values that every other room speaks of: references, columns, tables, read requests, settings."""
