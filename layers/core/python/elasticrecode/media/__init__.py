"""What a profile can ask for and what it means. Pure."""
