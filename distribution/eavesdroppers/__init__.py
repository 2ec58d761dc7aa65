"""Eavesdroppers, one file each: what they do to a pair, exactly, as an outcome set; `named` finds them by name."""
