"""Lists of jobs and events, page by page."""
