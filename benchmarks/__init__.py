"""`make bench`: each job against the loop that one would write without Flink, both in one run on one machine."""
