"""Live events: the feed, connections and what is posted to them."""
