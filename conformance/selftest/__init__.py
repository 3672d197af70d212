"""Tests of the suite itself: models that keep every rule, and defects that each rule must catch."""
