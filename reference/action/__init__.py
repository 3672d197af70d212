"""LPCVC 2026 Track 2: action recognition in video."""
