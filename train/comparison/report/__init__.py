"""What a comparison found: spread, intervals, who fits a budget and who is beaten by nobody; as a table and a plot."""
