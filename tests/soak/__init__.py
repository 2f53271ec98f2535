"""`make soak`: both jobs on the local stack while its parts are killed and stopped, counted at the end."""
