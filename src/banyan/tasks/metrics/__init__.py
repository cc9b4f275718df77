"""Official scores of every kind of task, as sums of one row of counts for each example."""
