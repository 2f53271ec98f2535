"""`make bench`: measures each job against the plain Python loop that does the same work without Flink."""
