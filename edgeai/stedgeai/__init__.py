"""ST Edge AI Core: find it, run it, and read what it writes.

The tool is closed and is called, never shipped. Formats: versions 2.1 to 4.0.1, read from public outputs of the tool.
"""
