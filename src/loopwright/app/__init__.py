"""Settings, wiring, HTTP, workers and the command line: the only package that knows every other."""
