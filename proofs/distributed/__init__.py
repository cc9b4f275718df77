"""That several processes learn what one process learns."""
