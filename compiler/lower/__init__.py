"""Lowering: one file an op family."""
