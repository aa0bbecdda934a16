"""What a network finds in images, videos and cameras."""
