"""Jobs: requests, records, events, states, and the table that holds them."""
