"""From float to int8: calibration sets, activation ranges, TFLite's quantizer."""
