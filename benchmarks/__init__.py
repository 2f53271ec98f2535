"""`make bench`: measures each job against a plain loop without Flink, and the parsers against fixed ones."""
