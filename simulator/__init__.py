"""The simulated post stream lives here: the posts themselves and the WebSocket server that publishes them."""
