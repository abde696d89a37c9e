"""GPUs: what a step costs, and the loop that runs the steps."""
