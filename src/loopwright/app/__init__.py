"""Settings, wiring, the embedded loop, HTTP and workers: puts the slices together; only the command line is above."""
