"""`make check_feed`: shows what the collector would make of a feed, or of a capture of one."""
