"""Figures as ratios in one run, beside peers and floors."""

from moto import mock_aws as mock_aws  # registers moto with botocore before the product creates its session
