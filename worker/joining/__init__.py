"""Joins the encoded chunks of a film into what one encode of the film would have written."""
