"""The training side: gradients, minibatch SGD and its statistics."""
