"""AI-generated images: the package for Genie, its answers, and what they are held against."""
