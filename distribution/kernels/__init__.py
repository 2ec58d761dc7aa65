"""Compiled loops only: arrays in, arrays out. Validation lives with the callers."""
