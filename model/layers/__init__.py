"""What the tower is made of: jagged rows, tokens, transformer blocks, fusion, and sums over many items."""
