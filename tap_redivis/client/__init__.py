"""The Redivis REST API: HTTP, retries, the rate limit, metadata, read sessions, queries, uploads."""
