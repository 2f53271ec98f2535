"""What a user sees, what survives a kill, what a bad value gets."""
