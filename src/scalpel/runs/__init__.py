"""Run folders and their files, which are written atomically; progress, threads and signals of a process."""
