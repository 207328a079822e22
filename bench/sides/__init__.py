"""What takes turns: scalpel and its peers, each in a process of its own."""
