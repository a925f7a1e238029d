"""Files of users as browsers reach them: links to a job's inputs and outputs, and uploads."""
