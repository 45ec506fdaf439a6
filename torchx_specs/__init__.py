"""TorchX components, found by TorchX under the name `pinfm`."""
