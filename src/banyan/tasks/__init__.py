"""What can be asked: one file per kind of task, with its rendering, reading and scoring."""
