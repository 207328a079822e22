"""The loop: batches, one step, a stage, a run of several stages, and what is said about them before step 1."""
