"""What one caller may do, without HTTP: start, say, decide, cancel, undo, fork, list. All entrances call these."""
