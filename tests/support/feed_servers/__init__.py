"""Stand-ins for the servers of the presets in jobs/feeds/presets. Each enforces the rules of the real server.

A comment at a rule names its source. Times are shorter in tests than at the real server: they are attributes.
"""
