"""Run folders and the files in them, written whole or not at all; progress, threads and signals of a process."""
