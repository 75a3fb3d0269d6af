"""Where a trace's errands are done: in this process, in several of them, on a Ray cluster, by SLURM."""
