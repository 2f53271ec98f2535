"""The sources of the console: each has `read()`, which returns an observation or raises. They only read."""
