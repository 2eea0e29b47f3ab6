"""The files of a user: every format that is read, within bounds, to rows of numbers or images."""
