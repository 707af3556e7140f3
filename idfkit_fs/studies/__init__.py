"""Many runs under one URL: prepare them here, run them anywhere, collect them from any machine."""
