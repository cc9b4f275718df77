"""One training loop for every recipe: step, trainer, optimizers, schedules, checkpoints."""
