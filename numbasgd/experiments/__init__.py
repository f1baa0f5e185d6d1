"""What measures: the ladder of products, memory, and kernels under a roofline."""
