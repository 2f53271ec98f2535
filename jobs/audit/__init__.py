"""The audit checks that every post is accounted for: `python -m jobs.audit`. Only `__main__` imports clients."""
