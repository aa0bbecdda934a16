"""Images: read and prepared for a network, looked at beforehand; and the pieces of SVG pictures."""
