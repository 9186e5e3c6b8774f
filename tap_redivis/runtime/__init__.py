"""The process: signals, log lines without secrets, progress for people."""
