"""A model directory as one object that answers."""
