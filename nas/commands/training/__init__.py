"""What nas train is made of: what is asked for, its folder, what it opens, shows and keeps."""
