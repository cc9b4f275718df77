"""Training a picture tokenizer: its recipe, its pictures, its scores and its run."""
