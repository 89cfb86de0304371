"""The operators' page: a worker of its own, which reads what the line leaves and costs it nothing else."""
