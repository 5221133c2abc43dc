"""What is learned on and how it is judged: recorded markets, and markets with a known answer."""
