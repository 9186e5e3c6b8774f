"""The data dictionary: what the server says of datasets, versions, tables, variables and value labels, as streams."""
