"""From calibration images to the ranges of activations."""
