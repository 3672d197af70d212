"""The contract suite: a submission held to the rules of its track, on this machine."""
