"""The tap is killed at any moment, and fed with more than its memory holds."""
