"""Whether every post is accounted for: `python -m jobs.audit`. All but `__main__` is free of clients."""
