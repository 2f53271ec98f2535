"""Starts, watches and stops the real parts of the pipeline on one machine, without containers."""
