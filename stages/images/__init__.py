"""Single images: decoding, resizing, and embedding in pages."""
