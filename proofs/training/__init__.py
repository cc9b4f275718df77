"""Training under faults: processes killed, disks filled, files damaged, and the run must end as if nothing had been."""
