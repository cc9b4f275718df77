"""Many tasks in one model: how good each is, whether they hurt each other, and which settings earn their place."""
