"""Ways to make an int8 file better: equalisation, bias correction, tuning, learning, scores; and their judge."""
