"""From a network in torch to a float TFLite file, one checked step at a time."""
