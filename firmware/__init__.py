"""A PlatformIO project; data, not Python."""
