"""Where the rooms are put together: train, evaluate, predict, init, demo."""
