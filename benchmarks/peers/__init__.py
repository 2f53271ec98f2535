"""Other stream processors for Python, on the same work. They run in a virtual environment of their own."""
