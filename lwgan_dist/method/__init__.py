"""The paper: tensors in, tensors out. Knows no configuration, file, process or plot."""
