"""How much memory a network needs on a board: live ranges, placement into pools, verdict."""
