"""Quantum key distribution on entangled pairs: engines, post-processing, key management.

Importing this package costs nothing: the stages live in their own modules and are imported by name, so that
`qkd --help` needs neither numpy nor numba.
"""

__version__ = "0.1.0"
