"""What a later model or toolchain must not lose: recorded, kept in a file, and compared."""
