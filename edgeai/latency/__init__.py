"""How long a network takes on a board: an analytic model with fitted constants and a stated error."""
