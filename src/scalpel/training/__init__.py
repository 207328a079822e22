"""Training: the loop, batches, one optimiser step, a stage, a run of several stages, preview and estimate."""
