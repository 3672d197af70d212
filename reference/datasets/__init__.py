"""What data sets are made of, and how their files are found and read; shared by the tracks."""
