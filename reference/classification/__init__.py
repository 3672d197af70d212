"""LPCVC 2025 Track 1: image classification for different lighting conditions and styles."""
