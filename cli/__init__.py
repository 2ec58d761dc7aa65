"""The `qkd` command: one file a command; `output.py` does all printing."""
