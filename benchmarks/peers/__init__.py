"""What other systems do, small and by their published rules, to compare with."""
