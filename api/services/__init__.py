"""The operations of one caller, without HTTP: start, send, decide, cancel, undo, fork, list. All protocols call these."""
