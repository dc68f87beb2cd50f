"""What containers need beside the application: the health check, the lock of the image and the set-up of Temporal."""
