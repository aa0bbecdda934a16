"""Boards: the wire protocol, consoles, emulated boards, and the blob that the bench firmware runs."""
