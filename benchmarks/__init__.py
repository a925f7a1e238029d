"""Figures as ratios in one run, beside peers and floors."""
