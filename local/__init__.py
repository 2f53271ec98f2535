"""The local stack: starts, watches and stops the real parts of the pipeline on one machine, without containers."""
