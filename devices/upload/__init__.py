"""Firmware onto real boards: which command does it, and running that command."""
