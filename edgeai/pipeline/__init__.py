"""The stages from a checkpoint to results, cached, and the order in which `run` takes them."""
