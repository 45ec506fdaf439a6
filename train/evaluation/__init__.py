"""What a finished run is worth: ranking on a split's requests, retrieval over the catalogue, a popularity baseline."""
