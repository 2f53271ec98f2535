"""One file for each module, without any other process but those that a test is about."""
