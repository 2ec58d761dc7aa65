"""Eavesdroppers other than intercept-resend, one file each: what they do to a pair, exactly, as an outcome set."""
