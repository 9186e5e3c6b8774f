"""Facts about the API, checked against the emulator under each reading, and against the real service by `make live`."""
