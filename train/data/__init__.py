"""Raw logs -> prepared datasets: reading, checking, writing."""
