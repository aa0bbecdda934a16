"""Training: data sets, augmentation, assigner, losses, the loop, and quantisation-aware fine-tuning.

Torch is imported at the top of the modules here; nothing imports them before `edgeai train` runs.
"""
