"""The tap as a process, against an emulator over a real socket, into real targets."""
