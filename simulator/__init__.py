"""The simulated feed, a stub of the Worldometers page, and the watchdog that restarts the simulator."""
