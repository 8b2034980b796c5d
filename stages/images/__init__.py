"""Single images: decoded from files, resized, and put into pages."""
