"""The CDK stack: a file for each package of the core, joined in `control_plane`."""
