"""Training one model with many processes, on PyTorch's own engine."""
