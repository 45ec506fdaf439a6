"""The tower's forward pass with what its gradient needs, and that gradient with respect to the inputs, by hand.

A host may score under an inference mode, in which autograd records nothing, and TorchScript's is slow where a request
is small. Weights are frozen, so no gradient of theirs is made.
"""
