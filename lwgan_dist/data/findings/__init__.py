"""What a person should know of rows before anything is learned from them."""
