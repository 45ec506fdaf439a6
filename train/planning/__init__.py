"""`pinfm plan`: what a run's tables need of the hardware, without the hardware."""
