"""One TOML file a board."""
