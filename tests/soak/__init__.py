"""`make soak`: both jobs on the local stack while its parts are killed and stopped; then the posts are counted."""
