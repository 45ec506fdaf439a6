"""Id tables on one device, in torch alone: of a borrowed tower, of an exported module."""
