"""What moves in the notebook: explorers, the live plot, the prompt box."""
