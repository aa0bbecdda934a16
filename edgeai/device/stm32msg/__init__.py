"""ST's validation protocol over a serial line: bytes, packets, messages, the dialogue, and faults of the line."""
