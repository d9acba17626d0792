"""The bpftrace process: started, read, watched, restarted, and never left behind."""
