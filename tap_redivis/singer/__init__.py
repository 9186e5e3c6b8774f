"""Everything that knows Singer and its SDK: streams, catalog, messages, STATE."""
