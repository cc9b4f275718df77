"""Does transfer pay? One trunk, three data sets, a hundred examples to all of them, five ways to learn."""
