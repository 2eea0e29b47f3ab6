"""What people look at: figures, TensorBoard, the terminal."""
