"""The operator that restarts the simulator when needed."""
