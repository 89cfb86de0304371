"""An accelerator that answers later without using the CPU, for tests and benchmarks of the line around it."""
