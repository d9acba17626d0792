"""NFS operations: a second bpftrace, with a script and a pipeline of its own."""
