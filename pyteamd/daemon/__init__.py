"""The process: teams, the kernel they live in, and what keeps both alive."""
