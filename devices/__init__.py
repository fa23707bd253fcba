"""The outside world: boards, emulators, serial links, meters."""
