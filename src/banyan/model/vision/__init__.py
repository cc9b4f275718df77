"""Networks that see: picture autoencoders, their codes, and what their training is judged by."""
