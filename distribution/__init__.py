"""Entanglement distribution: sources, channels, detectors, clocks, coincidences, tag files and live feeds.

This package knows nothing of keys; it serves any user of entanglement. Imports point downwards only:
`cli -> qkd -> distribution`.
"""
