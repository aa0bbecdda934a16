"""What Python writes for our C to read: model blobs, the configuration of the C post-processing."""
