"""The classical conversation, without I/O: messages, codec, steps, engine, transcript and its authentication."""
