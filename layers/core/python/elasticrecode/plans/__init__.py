"""Plans: what a job would make and cost, and jobs that carry that out."""
