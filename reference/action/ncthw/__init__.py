"""The rooms of the edition whose clips have their channels ahead of the frames."""
